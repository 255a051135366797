"""Clients do what the literature says they do, and more of it when behaviour is stronger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from data_contracts.columns import TABLES
from data_contracts.lake import to_arrow
from data_contracts.units import NULL
from features.panel import PricePanel
from tests.lab.markets import with_volumes
from training.lab import LabBook, MarginRules, Offers, set_stage, simulate_block
from training.lab.behaviour import (
    EARLY_CHANCE,
    EARLY_DISTANCE,
    MIND,
    PARAMETERS,
    VARIANCE,
    WEEK,
    distance_to_call,
    ratio_at,
    sells_early,
)
from training.lab.market import prepare
from training.lab.people import make_people
from training.lab.random import client_key
from training.lab.strengths import STRENGTHS, Strengths, load_strengths

Market = tuple[PricePanel, MarginRules]
CALL = 1_300_000


@pytest.fixture(scope="module")
def live(lab_market: Market) -> Callable[..., LabBook]:
    panel, rules = lab_market

    def run(clients: int = 400, behaviour: float = 1.0, offers: Offers | None = None) -> LabBook:
        strengths = STRENGTHS[panel.currency].times(behaviour)
        days = panel.sessions
        stage = set_stage(panel, rules, 5, days[0].item(), days[-1].item(), strengths)
        return simulate_block(stage, 0, clients, 2, offers)

    return run


def rows(book: LabBook, name: str) -> list[dict[str, Any]]:
    return list(to_arrow(TABLES[name], book.tables[name]).to_pylist())


def debt(book: LabBook) -> float:
    """Debt summed over sessions, whole units."""
    return float(np.asarray(book.tables["balances"]["debt_amt"]).sum()) / 100


def mind(volatility: float, week: float = 0.0) -> Any:
    c = np.zeros(MIND)
    c[VARIANCE], c[WEEK] = volatility**2, week
    return c


def test_the_ratio_at_a_distance_lies_at_that_distance() -> None:
    for volatility in (0.01, 0.03):
        for wanted in (0.5, 1.5, 3.0):
            c = mind(volatility)
            found = distance_to_call(CALL, ratio_at(CALL, wanted, c), c)
            assert found == pytest.approx(wanted, abs=1e-3)
    assert distance_to_call(CALL, CALL, mind(0.02)) == 0.0


def test_selling_before_the_call_rises_as_the_line_comes_near_and_prices_fall() -> None:
    p = np.zeros(len(PARAMETERS))
    p[EARLY_DISTANCE], p[EARLY_CHANCE] = 3.0, 0.2
    keys = [client_key(1, n) for n in range(4000)]

    def share(distance: float, week: float = 0.0) -> float:
        c = mind(0.02, week)
        return float(np.mean([sells_early(3, np.uint64(k), p, c, distance) for k in keys]))

    assert share(3.0) == share(5.0) == 0.0
    at = [share(d) for d in (2.5, 1.5, 0.5, 0.0)]
    assert at == sorted(at)
    assert at[-1] == pytest.approx(0.2, abs=0.03)
    assert share(1.5, -0.10) == pytest.approx(2 * share(1.5), rel=0.15)
    assert share(1.5, 0.10) == share(1.5)


def test_related_clients_act_together(live: Callable[..., LabBook]) -> None:
    """Two of a group buy the same name on the same day more often than two strangers do."""
    book = live(clients=1200)
    bought = defaultdict(set)
    for row in rows(book, "trades"):
        if row["side"] == "buy":
            bought[row["client_id"]].add((row["symbol"], row["event_at"].date()))
    groups = defaultdict(list)
    for client, group in zip(book.client_ids, book.group_ids, strict=True):
        groups[group].append(client)
    strangers = groups.pop(None)[:120]

    def together(pairs: list[tuple[str, str]]) -> float:
        common = [
            len(bought[a] & bought[b]) / max(min(len(bought[a]), len(bought[b])), 1)
            for a, b in pairs
        ]
        return float(np.mean(common))

    related = [pair for members in groups.values() for pair in combinations(sorted(members), 2)]
    assert len(related) > 40
    assert together(related) > 3 * together(list(combinations(strangers, 2)))


def test_dearer_loans_draw_less_debt_and_lower_caps_bind(live: Callable[..., LabBook]) -> None:
    clients = 400
    none = np.zeros(clients, dtype=np.int64)
    plain = live(clients)
    same = live(clients, offers=Offers(none, none))
    assert debt(same) == debt(plain)
    drawn = [debt(live(clients, offers=Offers(none, none + bps))) for bps in (0, 300, 600)]
    assert drawn == sorted(drawn, reverse=True)
    assert drawn[2] < 0.99 * drawn[0]
    capped = live(clients, offers=Offers(none + 1200, none))
    assert debt(capped) < 0.7 * debt(plain)
    balance = {(r["account_id"], r["session"]): r for r in rows(capped, "balances")}
    assets = capped.assets
    worth = {
        (a, s): v
        for a, s, v in zip(
            assets["account_id"].to_pylist(), np.asarray(assets["session"]).tolist(),
            np.asarray(assets["assets_amt"]).tolist(), strict=True,
        )
    }  # fmt: skip
    seen = 0
    for trade in rows(capped, "trades"):
        if trade["side"] == "buy" and trade["financed"]:
            key = trade["account_id"], trade["event_at"].date()
            owed = int((balance[key]["debt_amt"] + balance[key]["accrued_amt"]) * 100)
            assert worth[key] <= 1.22 * (worth[key] - owed)
            seen += 1
    assert seen > 30


def test_behaviour_at_half_and_twice_its_strength_changes_what_it_should() -> None:
    half, one, two = (make_people(3, 4000, "CNY", strengths=Strengths(b)) for b in (0.5, 1.0, 2.0))
    for name in ("disposition", "averaging"):
        means = [float(p.parameter(name).mean()) for p in (half, one, two)]
        assert means == sorted(means)
        assert means[0] < 0.6 * means[1]
    for name in ("trend_taste", "swing_taste", "relever", "chase", "leverage_swing"):
        assert np.allclose(half.parameter(name) * 4, two.parameter(name), rtol=1e-6, atol=1e-7)
    spread = [float(p.parameter("reply_chance").std()) for p in (half, one, two)]
    assert spread == sorted(spread)
    for name in ("leverage", "activity", "start_cash", "names", "income", "rate_taste"):
        assert np.array_equal(half.parameter(name), two.parameter(name)), name


def test_stronger_behaviour_keeps_losses_longer(live: Callable[..., LabBook]) -> None:
    """The share of sales at a loss falls as behaviour grows."""

    def lost(behaviour: float) -> float:
        book, cost, loss, sales = live(behaviour=behaviour), defaultdict(list), 0, 0
        for row in rows(book, "positions"):
            cost[row["account_id"], row["symbol"]].append(row)
        for row in rows(book, "trades"):
            if row["side"] != "sell":
                continue
            day = row["event_at"].date()
            held = [p for p in cost[row["account_id"], row["symbol"]] if p["from_session"] < day]
            last = max(held, key=lambda p: (p["from_session"], p["event_at"]))
            sales += 1
            loss += row["price"] * last["quantity_shares"] < last["cost_amt"]
        return loss / sales

    assert lost(2.0) < lost(1.0) < lost(0.5)


def test_names_that_trade_more_are_come_across_more_often(lab_market: Market) -> None:
    panel, rules = lab_market
    given = with_volumes(panel, 20_000)
    volume = given.volume_shares.copy()
    volume[:, 4] *= 10
    args = rules.initial_ratio_e6, rules.rate_bps, rules.haircut_e6, 0, len(panel.sessions) - 1
    even, busy = prepare(given, *args), prepare(replace(given, volume_shares=volume), *args)

    def places(m: Any, name: int) -> int:
        return int((m.candidates[200, : m.candidate_count[200]] == name).sum())

    assert places(busy, 4) > 2 * places(even, 4) > 0
    assert places(busy, 3) == 0 or panel.suspended[200, 3] == 0
    plain = prepare(panel, *args)
    first = plain.candidates[200, : plain.candidate_count[200]].tolist()
    assert len(set(first)) == len(first)
    assert (panel.close[200, first] != NULL).all()


def test_strengths_say_how_they_were_found() -> None:
    assert load_strengths("USD").behaviour == load_strengths("CNY").behaviour == 1.0
    assert STRENGTHS["USD"].times(2.0).behaviour == 2.0
    assert STRENGTHS["USD"].times(2.0).leverage == STRENGTHS["USD"].leverage
