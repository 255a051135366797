"""``review``: a night's cases over the command line, and the lake's table of acts."""

from __future__ import annotations

from serving.ledger import LedgerReader, verify


def test_a_night_opens_once_is_listed_and_its_acts_are_exported(demo_copy, cli, undocumented):
    with LedgerReader(demo_copy / "ledger.sqlite") as reader:
        run = reader.latest("kind/run_finished")[0].body["run_id"]
    where = ("--lake", demo_copy)
    opened = cli("review", "open", run, *where, "--json").document
    assert undocumented("review open", opened) == []
    assert opened["opened"] == opened["found"] > 0
    assert sum(opened["by_rule"].values()) >= opened["found"]
    again = cli("review", "open", run, *where, "--json").document
    assert again == {**opened, "opened": 0}
    listed = cli("review", "list", *where, "--limit", 5, "--json").document
    assert undocumented("review list", listed) == []
    due = [c["due_at"] for c in listed["cases"]]
    assert due == sorted(due)
    assert len(due) == 5
    # what is for compliance alone is not even counted for who reads as staff
    assert 0 < listed["counts"]["open"] <= opened["opened"]
    assert "open" in cli("review", "list", *where).out
    exported = cli("review", "export", *where, "--json").document
    assert undocumented("review export", exported) == []
    assert exported["rows"] == 0
    assert verify(demo_copy / "ledger.sqlite", base_dir=demo_copy).ok


def test_a_run_that_is_not_on_record_is_refused_with_the_way_out(demo_copy, cli):
    refused = cli("review", "open", "no-such-run", "--lake", demo_copy)
    assert refused.code == 2
    assert "gearline reprice" in refused.err
