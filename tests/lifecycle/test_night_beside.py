"""A challenger decides on every client in the same pass, on nobody, and changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import gearline
from data_contracts.errors import InputError
from models.bundle import Bundle
from serving.ledger import Ledger, read_entries, verify
from serving.lineup import keep_bundle
from serving.nightly.beside import SEALED_KIND, file_of
from serving.replay import replay_sample
from tests.serving.small_lake import make_lake
from training.bench.reprice.made import make_scorer

REVIEW = "2099-12-31"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lake, its two nights, and a second bundle on the same features: read it only."""
    folder = tmp_path_factory.mktemp("beside")
    lake, nights = make_lake(folder)
    make_scorer(lake, nights[0], 23, folder / "other", folder / "other.txt")
    return lake, nights, folder / "other"


@pytest.fixture
def lake(made, tmp_path):
    copy = tmp_path / "lake"
    shutil.copytree(made[0], copy)
    return copy


def reprice(cli, lake, day, *more):
    ran = cli("reprice", lake, "--as-of", day, "--threads", "1", "--json", *more)
    assert ran.code == gearline.DONE, ran.err
    return ran.document


def files_under(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def place(lake: Path, bundle: Bundle, role: str) -> None:
    """What an approved promotion leaves in the ledger, and the bundle in the lake."""
    keep_bundle(lake, bundle)
    kind = "model_released" if role == "champion" else "model_placed"
    body = {"bundle": bundle.sha256, "review_on": REVIEW, "role": role, "purpose": "clients"}
    # the lake's sessions lie years before today
    body["effective_at"] = "2020-01-01T00:00:00+00:00"
    with Ledger.open(lake / "ledger.sqlite", create=True) as ledger:
        ledger.append([{"kind": kind, "body": body}])


@pytest.mark.long
def test_the_night_is_byte_for_byte_the_same_with_a_challenger_beside_it(made, lake, tmp_path, cli):
    _, (night, _), other = made
    plain = tmp_path / "plain"
    shutil.copytree(lake, plain)
    alone = reprice(cli, plain, night)
    beside = reprice(cli, lake, night, "--challenger", other)
    rival = Bundle.read(other)
    assert beside["beside"] == [{"role": "challenger", "bundle_sha256": rival.sha256}]
    assert alone["beside"] == []
    assert beside["decisions_sha256"] == alone["decisions_sha256"]
    run = lake / "runs" / beside["run_id"]
    ours = {k: v for k, v in files_under(run).items() if not k.startswith("beside/")}
    assert ours == files_under(plain / "runs" / alone["run_id"])

    # its own segments: every client, other decisions, none with a number of the champion's
    own, theirs = [], []
    for bucket in range(4):
        path = lake / file_of(f"runs/{beside['run_id']}", rival.sha256, bucket)
        theirs += pq.read_table(path, partitioning=None).to_pylist()
        path = run / f"bucket={bucket:03d}" / "decisions.parquet"
        own += pq.read_table(path, partitioning=None).to_pylist()
    assert [r["client_id"] for r in theirs] == [r["client_id"] for r in own]
    assert not {r["decision_id"] for r in theirs} & {r["decision_id"] for r in own}
    assert [r["score"] for r in theirs] != [r["score"] for r in own]

    # sealed apart; what verifies, replays and publishes the night sees the champion's alone
    entries = list(read_entries(lake / "ledger.sqlite"))
    sealed = [e.body for e in entries if e.kind == SEALED_KIND]
    assert [e["bucket"] for e in sealed] == [0, 1, 2, 3]
    assert {e["bundle"] for e in sealed} == {rival.sha256}
    [finished] = [e.body for e in entries if e.kind == "run_finished"]
    assert "beside" not in str(finished["segments"])
    assert finished["decisions"] == len(own)
    assert verify(lake / "ledger.sqlite", base_dir=lake).ok
    assert replay_sample(lake, lake / "ledger.sqlite", 40, 3).equal == 40
    judged = [cli("publish", "--lake", at, "--json", "--dry-run").document for at in (lake, plain)]
    measured = [[(r["rule"], r["status"], r["value"]) for r in j["rules"]] for j in judged]
    assert measured[0] == measured[1] != []
    case = cli("reprice", lake, "--as-of", night, "--json")
    assert case.document["repeated"]


@pytest.mark.long
def test_two_workers_decide_beside_the_champion_as_one_does(made, lake, tmp_path, cli):
    _, (night, _), other = made
    twin = tmp_path / "twin"
    shutil.copytree(lake, twin)
    one = reprice(cli, lake, night, "--challenger", other)
    ran = cli("reprice", twin, "--as-of", night, "--threads", "2", "--json", "--challenger", other)
    assert ran.code == gearline.DONE, ran.err
    where = f"runs/{one['run_id']}/beside"
    assert files_under(lake / where) == files_under(twin / where) != {}


@pytest.mark.long
def test_without_a_bundle_the_champion_of_the_ledger_decides_and_the_approved_ones_beside_it(
    made, lake, cli
):
    _, (first, second), other = made
    rival, own = Bundle.read(other), Bundle.read(lake / "bundle")
    place(lake, rival, "shadow")
    before = reprice(cli, lake, first)
    assert (before["bundle_sha256"], before["review_on"]) == (own.sha256, None)
    assert before["beside"] == [{"role": "shadow", "bundle_sha256": rival.sha256}]
    place(lake, rival, "champion")
    place(lake, own, "challenger")
    after = reprice(cli, lake, second)
    assert (after["bundle_sha256"], after["review_on"]) == (rival.sha256, REVIEW)
    assert after["beside"] == [{"role": "challenger", "bundle_sha256": own.sha256}]
    # what was decided under the champion before is decided again from its own bundle
    report = replay_sample(lake, lake / "ledger.sqlite", 60, 5)
    assert (report.checked, report.different) == (60, ())


@pytest.mark.long
def test_who_is_approved_while_a_night_is_broken_off_takes_part_in_the_next_one(
    made, lake, cli, monkeypatch
):
    _, (night, _), other = made
    own, rival = Bundle.read(lake / "bundle"), Bundle.read(other)
    place(lake, own, "champion")
    real = Ledger.seal_segment

    def stop(self, **how):
        if how["bucket"] == 2:
            raise InputError("the power went out")
        return real(self, **how)

    monkeypatch.setattr(Ledger, "seal_segment", stop)
    broken = cli("reprice", lake, "--as-of", night, "--threads", "1")
    assert broken.code == gearline.REFUSED
    monkeypatch.undo()
    place(lake, rival, "champion")
    ended = reprice(cli, lake, night)
    assert (ended["bundle_sha256"], ended["resumed_buckets"]) == (own.sha256, 2)
    again = reprice(cli, lake, night)
    assert again["bundle_sha256"] == rival.sha256


def test_a_challenger_that_cannot_be_compared_is_refused(made, lake, cli):
    _, (night, _), _ = made
    same = cli("reprice", lake, "--as-of", night, "--challenger", lake / "bundle")
    assert "is the champion of this night" in same.err
    golden = Path(__file__).resolve().parents[1] / "golden" / "bundle"
    other = cli("reprice", lake, "--as-of", night, "--challenger", golden)
    assert other.code == gearline.REFUSED
    assert "train it on the champion's feature set" in other.err


@pytest.mark.long
def test_a_night_that_is_done_says_that_the_challenger_was_not_beside_it(made, lake, cli):
    _, (night, _), other = made
    reprice(cli, lake, night)
    ran = cli("reprice", lake, "--as-of", night, "--challenger", other)
    assert ran.code == gearline.REFUSED
    assert "a challenger joins a night that begins" in ran.err


@pytest.mark.long
def test_a_dry_run_computes_the_challenger_and_writes_nothing(made, lake, cli):
    _, (night, _), other = made
    before = set(files_under(lake))
    ran = reprice(cli, lake, night, "--dry-run", "--challenger", other)
    assert len(ran["beside"]) == 1
    assert set(files_under(lake)) == before


@pytest.mark.long
def test_the_challenge_report_compares_what_was_sealed_and_refuses_what_was_changed(
    made, lake, tmp_path, cli, undocumented
):
    _, (first, second), other = made
    for night in (first, second):
        reprice(cli, lake, night, "--challenger", other)
    out = tmp_path / "challenge"
    ran = cli("model", "challenge-report", "--lake", lake, "--out", out, "--json")
    assert ran.code == gearline.DONE, ran.err
    assert undocumented("model challenge-report", ran.document, empty=("matured_nights[]",)) == []
    # the lake ends a session later: nothing has matured, and the verdict says so
    assert (ran.document["nights"], ran.document["verdict"]) == (2, "not_enough")
    document = json.loads((out / "challenge.json").read_bytes())
    assert next(s for s in document["sections"] if s["key"] == "discrimination")["absent"]
    for language in ("en", "zh"):
        page = (out / f"challenge.{language}.html").read_text("utf-8")
        assert document["verdict_text"][language] in page
        assert ran.document["challenger_sha256"][:16] in page
        assert page.count("<section") == 1 + len(document["sections"])
    once = (out / "challenge.json").read_bytes()
    cli("model", "challenge-report", "--lake", lake, "--out", out)
    assert (out / "challenge.json").read_bytes() == once

    path = next((lake / "runs").glob("*/beside/*/bucket=001/decisions.parquet"))
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    refused = cli("model", "challenge-report", "--lake", lake, "--out", out)
    assert refused.code == gearline.REFUSED
    assert "is not the one that was sealed" in refused.err
