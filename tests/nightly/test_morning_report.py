"""The morning report and a night's monitors: every figure sourced, nothing green by silence."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest

from models.gate.judge import NOT_TESTED
from serving.ledger import Ledger, LedgerReader
from serving.nightly.monitors import MONITORS_FILE, MONITORS_KIND, monitor_run
from serving.nightly.publishing.flow import publish_run
from serving.nightly.publishing.history import find_run
from tests.nightly.conftest import SHIFTED
from tests.service.lake import add_night, make_lake


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "lake"
    where = make_lake(root)
    publish_run(root, where)
    with Ledger.open(where) as record:
        add_night(root, record, "night-2", SHIFTED)
    return root


def limits(root, run_id):
    table = pq.read_table(root / f"runs/{run_id}/bucket=000/decisions.parquet", partitioning=None)
    names = ("client_id", "max_debt_amt", "tier")
    return {c: (a, t) for c, a, t in zip(*(table[n].to_pylist() for n in names), strict=True)}


@pytest.fixture
def report(lake, tmp_path, cli):
    ran = cli("night", "report", "--lake", lake, "--out", tmp_path / "out", "--json", "night-2")
    assert ran.code == 0, ran.err
    return ran.document


def test_the_migration_matrix_and_the_movers_are_those_of_the_two_nights(lake, report):
    before, now = limits(lake, "night-1"), limits(lake, "night-2")
    assert sum(map(sum, report["migration"])) == len(now)
    for i, row in enumerate(report["migration"]):
        for j, count in enumerate(row):
            pair = (report["tiers"][i], report["tiers"][j])
            assert count == sum((before[c][1], now[c][1]) == pair for c in now)
    listed = [*report["movers"]["down"], *report["movers"]["up"]]
    assert {m["client_id"] for m in listed} == {c for c in now if before[c][0] != now[c][0]}
    for m in listed:
        assert m["change_amt"] == str(now[m["client_id"]][0] - before[m["client_id"]][0])


def test_a_movers_score_is_explained_by_the_features_that_moved(report):
    for m in [*report["movers"]["down"], *report["movers"]["up"]]:
        total = sum(float(f["log_odds"]) for f in m["score_factors"])
        assert total == pytest.approx(float(m["score_change_log_odds"]), abs=0.002)


def test_every_key_figure_has_a_source_and_an_absent_one_its_reason(report):
    for figure in report["kpis"]:
        assert figure["source"]
        assert bool(figure["why_null"]) is (figure["value"] is None)
        assert figure["en"]
        assert figure["zh"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", v) for v in report["sources"].values())


def test_the_page_stands_alone_in_two_languages_and_says_what_the_json_says(lake, tmp_path, report):
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    stored = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert stored == {k: v for k, v in report.items() if k != "page"}
    assert not re.search(r"(?:src|href)=", page)
    assert page.count('lang="en"') - 1 == page.count('lang="zh"') - 1
    for figure in report["kpis"]:
        assert figure["zh"] in page


def test_a_first_night_is_reported_without_comparisons(tmp_path, cli):
    root = tmp_path / "lake"
    make_lake(root)
    ran = cli("night", "report", "--lake", root, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["against"] is None
    assert ran.document["migration"] is None
    assert ran.document["movers"] is None


def test_monitors_lie_beside_the_run_and_an_older_bundle_is_not_tested(lake):
    where = lake / "ledger.sqlite"
    with LedgerReader(where) as reader:
        run = find_run(reader, "night-2")
    document = monitor_run(lake, where, run)
    assert json.loads((lake / "runs/night-2" / MONITORS_FILE).read_bytes()) == document
    by_name: dict[str, set[str]] = {}
    for m in document["monitors"]:
        by_name.setdefault(m["monitor"], set()).add(m["status"])
    for name in ("score_psi_ratio", "feature_csi_ratio", "calibration_ratio"):
        assert by_name[name] == {NOT_TESTED}
    assert by_name["override_ratio"] == {"green"}
    with LedgerReader(where) as reader:
        [entry] = reader.latest(f"kind/{MONITORS_KIND}", 1)
    assert entry.body["closes"] == document["closes"]


def test_a_night_whose_tiers_shift_is_red_and_closes(lake):
    where = lake / "ledger.sqlite"
    with LedgerReader(where) as reader:
        document = monitor_run(lake, where, find_run(reader, "night-2"))
    [tiers] = [m for m in document["monitors"] if m["monitor"] == "night_psi_ratio"]
    assert float(tiers["value"]) >= 0.25
    assert (tiers["status"], document["closes"]) == ("red", ["night_psi_ratio"])
