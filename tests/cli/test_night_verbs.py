"""The documents of the verbs about a decided night, held against docs/json.md."""

from __future__ import annotations

import gearline
from serving.ledger import Ledger
from tests.nightly.conftest import SHIFTED
from tests.service.lake import add_night, make_lake


def test_a_night_is_published_reported_reconciled_and_rolled_back(tmp_path, cli, undocumented):
    lake = tmp_path / "lake"
    where = make_lake(lake, nights=("night-1", "night-2"))
    for run_id in ("night-1", "night-2"):
        made = cli("publish", run_id, "--lake", lake, "--json")
        assert made.code == gearline.DONE, made.err
        assert undocumented("publish", made.document) == []
    report = cli("night", "report", "--lake", lake, "--out", tmp_path / "out", "--json")
    assert undocumented("night report", report.document) == []
    figures = cli("night", "kpis", "--lake", lake, "--out", tmp_path / "kpis", "--json")
    assert undocumented("night kpis", figures.document) == []
    assert figures.document["kpis"] == report.document["kpis"]
    watched = cli("night", "monitors", "--lake", lake, "--json")
    assert undocumented("night monitors", watched.document) == []
    (tmp_path / "counter.csv").write_text("client_id,max_debt_amt\nc00,1.00\n", "utf-8")
    found = cli("reconcile", tmp_path / "counter.csv", "--lake", lake, "--json")
    assert undocumented("reconcile", found.document) == []
    back = cli("rollback", "--lake", lake, "--reason", "wrong", "--json")
    assert (back.code, undocumented("rollback", back.document)) == (gearline.DONE, [])
    with Ledger.open(where) as record:
        add_night(lake, record, "night-3", SHIFTED)
    held = cli("publish", "night-3", "--lake", lake, "--json")
    assert held.code == gearline.FOUND
    assert undocumented("publish", held.document) == []
    assert held.document["proposal_id"]


def test_a_refusal_says_what_to_do(tmp_path, cli):
    lake = tmp_path / "lake"
    make_lake(lake)
    assert "there is nothing to return to" in cli("rollback", "--lake", lake, "--reason", "x").err
    assert "there is no run 'other'" in cli("publish", "other", "--lake", lake).err
