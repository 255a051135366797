"""Key figures: one definition each, with formula, n and source, or why they do not apply."""

from __future__ import annotations

import datetime as dt
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.nightly.kpis.figures import Pool, _coverage
from serving.nightly.kpis.measures import (
    Span,
    cured,
    events,
    liquidation_loss,
    mean_margins,
    override_outcome,
)
from serving.nightly.kpis.page import WHY_ZH
from tests.service.lake import make_lake

WANTED = {
    "liquidation_rate", "liquidation_rate_daily", "liquidation_rate_annual", "liquidation_value",
    "call_rate", "cure_rate", "default_rate", "leverage", "leverage_median",
    "net_interest_margin_bps", "utilisation_of_quota", "utilisation_of_limits",
    "average_liquidation_loss_bps", "shortfall_amt", "pool_coverage", "procyclicality",
    *(f"book_share_{k}" for k in range(1, 6)), "top_10_clients", "top_10_names",
    "explanation_coverage", "override_rate", "override_outcome",
}  # fmt: skip
DAY = dt.date(2024, 3, 15)


def at(day, hour=8):
    return dt.datetime.combine(day, dt.time(hour), tzinfo=dt.UTC)


def write(root, table, rows):
    path = root / table / "part-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture
def lake(tmp_path):
    """One account called and cured, one called and force-sold short."""
    root = tmp_path / "made"

    def event(account, kind, amount, day, deadline=None):
        return {
            "account_id": account, "client_id": account, "kind": kind, "amount_amt": amount,
            "event_at": at(day), "deadline_at": None if deadline is None else at(deadline, 20),
        }  # fmt: skip

    before = DAY - dt.timedelta(days=1)
    write(
        root, "margin_events",
        [
            event("a", "call", 10.0, before, DAY), event("a", "cure", 10.0, DAY),
            event("b", "call", 20.0, before, DAY), event("b", "forced_sale", 940.0, DAY),
            event("b", "shortfall", 7.5, DAY), event("b", "default", 50.0, DAY),
        ],
    )  # fmt: skip
    fill = {"account_id": "b", "symbol": "S", "side": "sell", "executed_at": at(DAY)}
    write(
        root, "trades",
        [
            fill | {"quantity_shares": 100, "price": 9.4, "financed": True},
            fill | {"quantity_shares": 50, "price": 1.0, "financed": False},
            fill | {"account_id": "a", "quantity_shares": 50, "price": 1.0, "financed": True},
        ],
    )  # fmt: skip
    closes = ((2, 8.0), (1, 10.0), (0, 9.0))
    write(
        root, "bars",
        [{"symbol": "S", "session": DAY - dt.timedelta(days=k), "close": c} for k, c in closes],
    )  # fmt: skip
    return root


def test_events_are_counted_by_account_over_the_days_since_the_published_night(lake):
    week = Span(DAY - dt.timedelta(days=7), DAY)
    assert (events(lake, week) or {})["call"] == (2, 30.0)
    assert events(lake, Span(None, DAY)) == {
        "cure": (1, 10.0), "forced_sale": (1, 940.0), "shortfall": (1, 7.5), "default": (1, 50.0),
    }  # fmt: skip
    assert (week.days, Span(None, DAY).days) == (7, 1)
    assert cured(lake, week) == (2, 1)


def test_a_forced_sale_loses_the_last_close_before_it_less_what_it_got(lake):
    loss, fills, why = liquidation_loss(lake, Span(None, DAY))
    assert loss == pytest.approx(600.0)
    assert (fills, why) == (1, "")
    loss, fills, why = liquidation_loss(lake, Span(DAY, DAY + dt.timedelta(days=3)))
    assert (loss, fills) == (None, 0)
    assert why in WHY_ZH
    (lake / "bars" / "part-0.parquet").unlink()
    assert liquidation_loss(lake, Span(None, DAY))[2] in WHY_ZH


def test_an_override_old_enough_is_judged_by_the_default_that_followed(lake):
    assert override_outcome(lake, DAY)[2] in WHY_ZH
    run = lake / "runs" / "n" / "bucket=000"
    run.mkdir(parents=True)
    ids = [{"decision_id": f"d{c}", "client_id": c} for c in "ab"]
    pq.write_table(pa.Table.from_pylist(ids), run / "decisions.parquet")
    acted = at(DAY - dt.timedelta(days=20))
    write(
        lake, "reviews",
        [{"decision_id": f"d{c}", "side": "looser", "acted_at": acted} for c in "ab"],
    )  # fmt: skip
    assert override_outcome(lake, DAY) == (None, 0, "no override is 90 days old")
    assert override_outcome(lake, DAY + dt.timedelta(days=80)) == (0.5, 2, "")


def test_margins_of_a_years_nights_are_read_in_order(tmp_path):
    for days, margin in ((400, 900_000), (100, 200_000), (0, 300_000)):
        folder = tmp_path / "runs" / f"r{days}" / "market"
        folder.mkdir(parents=True)
        day = DAY - dt.timedelta(days=days)
        (folder / "market.json").write_text(json.dumps({"session": day.isoformat()}))
        table = pa.table({"price": [10, 0], "security_margin": [margin, 1_000_000]})
        pq.write_table(table, folder / "securities.parquet")
    assert mean_margins(tmp_path, DAY) == [0.2, 0.3]


def test_coverage_is_the_pool_over_what_the_stress_says_and_else_says_what_is_missing():
    assert _coverage(Pool(150, 100))["value"] == "1.5"
    for pool in (Pool(None, 100), Pool(100, None), Pool(100, 0)):
        figure = _coverage(pool)
        assert figure["value"] is None
        assert figure["why_null"] in WHY_ZH


def test_the_command_prints_every_figure_with_formula_n_and_source_or_the_reason(tmp_path, cli):
    root = tmp_path / "lake"
    make_lake(root)
    stress = tmp_path / "stress.json"
    stress.write_text(json.dumps({"pool": {"expected_shortfall_999_amt": "200.00"}}))
    options = ("--pool", "500.00", "--stress", stress, "--out", tmp_path / "out")
    ran = cli("night", "kpis", "--lake", root, *options, "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert {k["kpi"] for k in document["kpis"]} == WANTED
    assert len(document["kpis"]) == len(WANTED)
    for k in document["kpis"]:
        assert k["formula"]
        assert k["source"]
        assert k["n"] >= 0
        assert bool(k["why_null"]) is (k["value"] is None)
        assert k["why_null"] in ("", *WHY_ZH)
    by = {k["kpi"]: k for k in document["kpis"]}
    assert by["pool_coverage"]["value"] == "2.5"
    page = (tmp_path / "out" / "kpis.html").read_text("utf-8")
    stored = json.loads((tmp_path / "out" / "kpis.json").read_bytes())
    assert stored == {k: v for k, v in document.items() if k != "page"}
    assert not re.search(r"(?:src|href)=", page)
    assert page.count("not applicable:") == sum(k["value"] is None for k in document["kpis"])
    assert page.count("不适用：") == page.count("not applicable:")


def test_a_file_that_is_no_stress_document_is_refused(tmp_path, cli):
    root = tmp_path / "lake"
    make_lake(root)
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    ran = cli("night", "kpis", "--lake", root, "--stress", wrong)
    assert ran.code == 2
    assert "is no document of `gearline stress LAKE --json`" in ran.err
