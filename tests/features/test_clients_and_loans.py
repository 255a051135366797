"""KYC, loans and equity: each feature against a plain reading of its dictionary entry."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.units import NULL
from features.asof import BookHistory
from features.panel import PricePanel
from features.sets import BEHAVIOURAL_3

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Reading = Callable[[Any, str], float | None]
TOLERANCE = 2
"""Quanta: the two sides add floats in different orders."""
REFERENCES: dict[str, Reading] = {}


def reading(function: Reading) -> Reading:
    """Note a plain reading under the name of its feature."""
    REFERENCES[function.__name__] = function
    return function


def stated(p: Any, c: str, column: str) -> Any:
    found = [row for row in p.seen["clients"] if row["client_id"] == c]
    return found[0][column] if found else None


def over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below is not None and below > 0 else None


def money(p: Any, c: str) -> tuple[int, int]:
    """Assets and all that is owed, minor units."""
    assets, debt, accrued = p.money(c, p.t) or (p.securities(c, p.t), 0, 0)
    return assets, debt + accrued


@reading
def declared_income_amt(p: Any, c: str) -> float | None:
    found = stated(p, c, "income_amt")
    return None if found is None else found / 100


@reading
def declared_net_worth_amt(p: Any, c: str) -> float | None:
    found = stated(p, c, "net_worth_amt")
    return None if found is None else found / 100


@reading
def declared_liquid_assets_amt(p: Any, c: str) -> float | None:
    found = stated(p, c, "liquid_assets_amt")
    return None if found is None else found / 100


@reading
def liquid_share_of_net_worth_ratio(p: Any, c: str) -> float | None:
    return over(stated(p, c, "liquid_assets_amt"), stated(p, c, "net_worth_amt"))


@reading
def net_worth_to_income_ratio(p: Any, c: str) -> float | None:
    return over(stated(p, c, "net_worth_amt"), stated(p, c, "income_amt"))


@reading
def experience_months(p: Any, c: str) -> float | None:
    found: int | None = stated(p, c, "experience_months")
    return found


@reading
def literacy_score(p: Any, c: str) -> float | None:
    found: int | None = stated(p, c, "literacy_score")
    return found


@reading
def suitability_level(p: Any, c: str) -> float | None:
    found: int | None = stated(p, c, "suitability_level")
    return found


@reading
def bureau_risk_rank(p: Any, c: str) -> float | None:
    ranks = {"clear": 0, "thin": 1, "minor": 2, "major": 3}
    return ranks.get(stated(p, c, "bureau_status") or "none")


@reading
def kyc_age_days(p: Any, c: str) -> float | None:
    verified = stated(p, c, "kyc_verified_on")
    return None if verified is None else int((p.days[p.t] - verified).days)


@reading
def account_age_sessions(p: Any, c: str) -> float | None:
    mine = [a["opened_on"] for a in p.seen["accounts"] if p.open.get(a["account_id"]) == c]
    return int(p.t - p.days.index(min(mine)))


@reading
def leverage_ratio(p: Any, c: str) -> float | None:
    assets, owed = money(p, c)
    if assets - owed <= 0:
        return math.inf if owed else None
    return assets / (assets - owed)


@reading
def net_worth_to_debt_ratio(p: Any, c: str) -> float | None:
    return over(stated(p, c, "net_worth_amt"), money(p, c)[1])


@reading
def liquid_assets_to_debt_ratio(p: Any, c: str) -> float | None:
    return over(stated(p, c, "liquid_assets_amt"), money(p, c)[1])


@reading
def cash_share_ratio(p: Any, c: str) -> float | None:
    assets = money(p, c)[0]
    return over(assets - p.securities(c, p.t), assets)


@reading
def equity_volatility_60_sessions_ratio(p: Any, c: str) -> float | None:
    steps = equity_steps(p, c, range(max(p.t - 59, 1), p.t + 1))
    return statistics.stdev(steps) if len(steps) >= 40 else None


def equity_steps(p: Any, c: str, sessions: range) -> list[float]:
    """Returns of the equity; once it was lost nothing can be earned on it."""
    index, out = 1.0, []
    for s in sessions:
        before, after = p.nav(c, s - 1), p.nav(c, s)
        if before is None or after is None or before <= 0:
            continue
        factor = max((after - p.external(c, s)) / before, 0.0)
        if index > 0:
            out.append(factor - 1)
        index *= factor
    return out


def loans(p: Any, c: str) -> list[Row]:
    return [
        k
        for k in p.seen["contracts"]
        if p.open.get(k["account_id"]) == c and k["outstanding_amt"] > 0
    ]


@reading
def rollovers_largest(p: Any, c: str) -> float | None:
    return max((k["rollovers"] for k in loans(p, c)), default=None)


@reading
def oldest_loan_days(p: Any, c: str) -> float | None:
    return max(((p.days[p.t] - k["opened_on"]).days for k in loans(p, c)), default=None)


def with_contracts(rows: Rows, panel: PricePanel, seed: int) -> Rows:
    """Loans that are opened, rolled over, repaid and corrected."""
    rng, days = np.random.default_rng(seed), panel.sessions.tolist()
    table: list[Row] = []
    for number in range(25):
        account = ("a1", "a2", "a3", "a4", "a5")[int(rng.integers(5))]
        client = {"a1": "c1", "a2": "c2", "a3": "c3", "a4": "c3", "a5": "c4"}[account]
        first = int(rng.integers(15, 60))
        for version in range(int(rng.integers(1, 4))):
            day = days[min(first + 9 * version, len(days) - 1)]
            stamp = dt.datetime.combine(day, dt.time(7), tzinfo=dt.UTC)
            late = dt.timedelta(days=int(rng.integers(0, 3)), microseconds=number)
            table.append({
                "contract_id": f"k{number}", "account_id": account, "client_id": client,
                "symbol": None, "kind": "margin_loan", "opened_on": days[first], "due_on": None,
                "rollovers": version, "quantity_shares": None, "principal_amt": 10**6,
                "outstanding_amt": 0 if rng.random() < 0.3 else 10**6, "accrued_amt": 5,
                "ratio_at_opening": 10**6, "rate_bps": 600, "rule_pack": "cn",
                "event_at": stamp, "known_at": stamp + late,
            })  # fmt: skip
    return rows | {"contracts": table}


@pytest.mark.parametrize("seed", [1, 2])
def test_each_feature_equals_a_plain_reading_of_its_entry(
    seed: int,
    panel: PricePanel,
    plain_reading: Callable[[Rows, PricePanel, int], Any],
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    rows = with_contracts(random_rows(seed), panel, seed)
    for balance in rows["balances"]:  # most clients soon owe more than they have; some never do
        if balance["account_id"] in ("a2", "a5"):
            balance["debt_amt"] //= 100
    history = BookHistory.load(write_lake(tmp_path, rows), panel)
    by_name = {f.name: f for f in BEHAVIOURAL_3.features}
    defined: set[str] = set()
    for t in (12, 45, 70, 89):
        book, plain = history.as_of(panel.sessions[t].item()), plain_reading(rows, panel, t)
        assert list(book.client_ids) == plain.clients
        for name, reference in REFERENCES.items():
            feature = by_name[name]
            got = feature.values(book)
            for k, client in enumerate(plain.clients):
                expected = reference(plain, client)
                where = f"{name} of {client} at session {t}"
                if expected is None:
                    assert got[k] == NULL, where
                    continue
                defined.add(name)
                clipped = min(max(expected, feature.low), feature.high)
                assert got[k] != NULL, where
                assert abs(int(got[k]) - clipped * feature.one) <= TOLERANCE, where
    assert defined == set(REFERENCES), "some feature was never defined"
