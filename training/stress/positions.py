"""Positions of another lender, through the data contracts: collateral, debt, and a threshold as haircut.

For lending against one kind of collateral, as on-chain lending does it: a position is liquidated as
soon as collateral x threshold falls below debt, there are no calls, no deadlines and no clients to
cure. The pack ``none`` holds that lender's lines and no law: ``decide`` refuses it, so the positions
are stressed and reported only.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.checks import check_lake
from data_contracts.errors import InputError
from data_contracts.lake import (
    LakeInfo,
    create_lake,
    decimal_to_int,
    read_table,
    write_bucketed,
    write_shared,
)
from data_contracts.units import MAX_AMT, NULL, RATIO_ONE, FloatArray, format_decimal
from models.policy import STRESS_ONLY, Policy, load_pack, refuse_without_law
from training.stress.book import StressBook
from training.stress.desk import run_path
from training.stress.kernel import Lines
from training.stress.scenario import Names, Scenario, price_path
from training.table_read import numbers, read_any

FINEST: Final = 6
"""Decimal places of the file's unit that one minor unit of the lake stands for, where amounts allow."""
UNIT_PRICE: Final = 1_000_000
"""A unit of collateral at first, 0.0001: fine enough for moves of a millionth."""
FALLS: Final = (0.0, 0.05, 0.10, 0.20, 0.30, 0.40, 0.50)
MIC: Final = "XXXX"
"""No market (ISO 10383)."""
AS_OF: Final = dt.date(2023, 6, 1)
"""The lake holds one day; which one it is changes nothing."""


@dataclass(frozen=True)
class Positions:
    """Collateral and debt in one unit of account, and each account's liquidation threshold."""

    collateral: FloatArray
    debt: FloatArray
    threshold: FloatArray


def read_positions(path: Path) -> Positions:
    """Columns ``collateral``, ``debt``, ``threshold`` of a CSV or Parquet file; others are ignored.

    A threshold above 1 is in basis points.

    Raises
    ------
    InputError
        If a column is missing, empty or negative, or a threshold is not in (0, 1].
    """
    table = read_any(path)
    found = []
    for name in ("collateral", "debt", "threshold"):
        if name not in table.column_names:
            raise InputError(
                f"{path} has no column {name!r}; positions need collateral, debt, threshold"
            )
        values = numbers(table, name)
        if not bool(np.isfinite(values).all()) or bool((values < 0).any()):
            raise InputError(
                f"{path}: column {name!r} has a missing or negative value; remove the row"
            )
        found.append(values)
    threshold = np.where(found[2] > 1, found[2] / 10_000, found[2])
    if bool(((threshold <= 0) | (threshold > 1)).any()):
        raise InputError(f"{path}: a threshold lies outside 0 to 1 (0 to 10000 in basis points)")
    return Positions(found[0], found[1], threshold)


def places_of(positions: Positions) -> int:
    """Decimal places of the file's unit that money is kept in: six, or fewer where amounts are large.

    Raises
    ------
    InputError
        If a position is beyond what the contracts hold even in whole units.
    """
    most = float(max(positions.collateral.max(initial=0.0), positions.debt.max(initial=0.0)))
    for places in range(FINEST, -1, -1):
        if most * 10**places <= MAX_AMT:
            return places
    raise InputError(f"a position is {most:.0f} units, more than {MAX_AMT}; give larger units")


def write_positions(positions: Positions, lake: Path) -> int:
    """Write the positions as a lake: each account a client, each threshold a security.

    The threshold is the security's ``collateral_haircut_ratio``, collateral a holding of it, debt a
    margin loan on demand. One minor unit is ``10 ** -places`` of the file's unit.

    Returns
    -------
    int
        The places.
    """
    places = places_of(positions)
    levels, symbol = np.unique(np.rint(positions.threshold * RATIO_ONE), return_inverse=True)
    n = len(symbol)
    pack = load_pack(STRESS_ONLY)
    create_lake(lake, LakeInfo(pack.currency, MIC, 1, "positions of another lender"))
    ids = [f"p{k:07d}" for k in range(n)]
    names = [f"T{round(level):07d}" for level in levels]
    shares = np.rint(positions.collateral * 10**places * 100 / UNIT_PRICE).astype(np.int64)
    owed = np.rint(positions.debt * 10**places).astype(np.int64)
    one = dt.datetime.combine(AS_OF, dt.time(12), tzinfo=dt.UTC)

    def rows(count: int, **columns: Any) -> dict[str, Any]:
        at = {"event_at": [one] * count, "known_at": [one] * count}
        return at | {
            k: v if isinstance(v, (list, np.ndarray)) else [v] * count for k, v in columns.items()
        }

    per_name = len(names)
    write_shared(
        lake, "instruments",
        rows(
            per_name, symbol=names, mic=MIC, session=AS_OF, board="main", currency=pack.currency,
            price_limit_ratio=np.full(per_name, NULL, dtype=np.int64),
            collateral_haircut_ratio=np.rint(levels).astype(np.int64), margin_eligible=False,
            collateral_eligible=True, is_special_treatment=False, listed_on=None, industry=None,
            float_shares=None,
        ),
    )  # fmt: skip
    price = np.full(per_name, UNIT_PRICE, dtype=np.int64)
    absent = np.full(per_name, NULL, dtype=np.int64)
    write_shared(
        lake, "bars",
        rows(
            per_name, symbol=names, mic=MIC, session=AS_OF, open=absent, high=absent, low=absent,
            close=price, pre_close=absent, volume_shares=None, turnover_amt=absent, suspended=False,
        ),
    )  # fmt: skip
    bucket = np.zeros(n, dtype=np.int64)
    unknown = np.full(n, NULL, dtype=np.int64)
    write_bucketed(
        lake, "clients",
        rows(
            n, client_id=ids, income_amt=unknown, net_worth_amt=unknown, liquid_assets_amt=unknown,
            experience_months=None, suitability_level=None, literacy_score=None,
            bureau_status=None, kyc_verified_on=None, kyc_expires_on=None, pep=False,
            sanctioned=False, aml_level="high", related_group_id=None,
            automated_decision_refused=False,
        ),
        bucket, 1,
    )  # fmt: skip
    write_bucketed(
        lake, "accounts",
        rows(
            n, account_id=ids, client_id=ids, market=MIC, product="collateral lending",
            currency=pack.currency, opened_on=AS_OF, closed_on=None,
        ),
        bucket, 1,
    )  # fmt: skip
    held = np.flatnonzero(shares > 0)
    write_bucketed(
        lake, "positions",
        rows(
            len(held), account_id=[ids[k] for k in held], client_id=[ids[k] for k in held],
            symbol=[names[symbol[k]] for k in held], from_session=AS_OF, to_session=None,
            quantity_shares=shares[held], cost_amt=shares[held] * UNIT_PRICE // 100,
        ),
        bucket[held], 1,
    )  # fmt: skip
    owing = np.flatnonzero(owed > 0)
    write_bucketed(
        lake, "contracts",
        rows(
            len(owing), contract_id=[f"c{k:07d}" for k in owing],
            account_id=[ids[k] for k in owing], client_id=[ids[k] for k in owing], symbol=None,
            kind="margin_loan", opened_on=AS_OF, due_on=None, rollovers=0, quantity_shares=None,
            principal_amt=owed[owing], outstanding_amt=owed[owing],
            accrued_amt=np.zeros(len(owing), dtype=np.int64),
            ratio_at_opening=np.zeros(len(owing), dtype=np.int64), rate_bps=0,
            rule_pack=pack.name,
        ),
        bucket[owing], 1,
    )  # fmt: skip
    return places


def book_of_lake(lake: Path) -> tuple[StressBook, Names]:
    """The book of a lake of positions, read through the contracts."""
    instruments = read_table(lake, "instruments", columns=["symbol", "collateral_haircut_ratio"])
    bars = read_table(lake, "bars", columns=["symbol", "close"])
    names = instruments["symbol"].to_pylist()
    at = {name: k for k, name in enumerate(names)}
    price = np.zeros(len(names), dtype=np.int64)
    price[[at[s] for s in bars["symbol"].to_pylist()]] = decimal_to_int(bars["close"])
    clients = sorted(read_table(lake, "clients", columns=["client_id"])["client_id"].to_pylist())
    number = {c: k for k, c in enumerate(clients)}
    held = read_table(lake, "positions", columns=["client_id", "symbol", "quantity_shares"])
    of = np.array([number[c] for c in held["client_id"].to_pylist()], dtype=np.int64)
    order = np.argsort(of, kind="stable")
    loans = read_table(lake, "contracts", columns=["client_id", "outstanding_amt", "accrued_amt"])
    owed = np.zeros(len(clients), dtype=np.int64)
    np.add.at(
        owed,
        np.array([number[c] for c in loans["client_id"].to_pylist()], dtype=np.int64),
        decimal_to_int(loans["outstanding_amt"]) + decimal_to_int(loans["accrued_amt"]),
    )
    symbol = np.array([at[s] for s in held["symbol"].to_pylist()], dtype=np.int64)
    quantity = np.asarray(held["quantity_shares"]).astype(np.int64)
    book = StressBook(
        tuple(clients),
        np.r_[0, np.cumsum(np.bincount(of, minlength=len(clients)))].astype(np.int64),
        symbol[order],
        quantity[order],
        np.zeros(len(clients), dtype=np.int64),
        owed,
        np.arange(len(clients), dtype=np.int64),
        decimal_to_int(instruments["collateral_haircut_ratio"]),
    )
    return book, Names(price, np.ones(len(names)), np.zeros(len(names)))


def lines_of_pack(policy: Policy) -> Lines:
    """Liquidated at once below the line of the pack, until the target."""
    line = policy["liquidation_line_ratio"]
    return Lines(
        line, line, policy["target_line_ratio"], policy["call_deadline_sessions"],
        policy["liquidation_cost_ratio"],
    )  # fmt: skip


def onboarding_refusal(policy: Policy) -> str | None:
    """Why nobody is decided on under the pack, as ``decide`` says it; None where it decides."""
    try:
        refuse_without_law(policy)
    except InputError as error:
        return str(error)
    return None


def positions_report(
    path: Path, scenario: Scenario, seed: int, lake: Path | None = None
) -> dict[str, Any]:
    """What falls of the collateral against the debt do to the positions of a file.

    ``falls`` happen in one step, the scenario over its sessions. Amounts are decimal strings in the
    file's unit of account. The scenario's volatility does not apply: there is one price.

    Parameters
    ----------
    lake : where the positions are written as contract tables; a folder that goes away if None
    """
    positions = read_positions(path)
    with tempfile.TemporaryDirectory(prefix="gearline-positions-") as folder:
        where = Path(folder) / "lake" if lake is None else lake
        places = write_positions(positions, where)
        checked = check_lake(where)
        book, names = book_of_lake(where)
    pack = load_pack(STRESS_ONLY)
    policy = pack.on(AS_OF)
    lines = lines_of_pack(policy)
    cures = np.zeros(book.clients, dtype=np.int64)

    def units(minor: int) -> str:
        return format_decimal(minor, places)

    def row(name: str, one: Scenario) -> dict[str, Any]:
        found = run_path(book, price_path(one, names, seed), one.depth_ratio, lines, cures)
        return {
            "name": name,
            "fall_ratio": -one.shock_ratio,
            "liquidated": found.forced,
            "sold": units(found.sold_amt),
            "shortfalls": found.shortfalls,
            "shortfall": units(found.shortfall_amt),
            "insolvent_debt": units(found.insolvent_debt_amt),
        }

    indebted = book.owed > 0
    counted = np.zeros(book.clients)
    owner = np.repeat(np.arange(book.clients), np.diff(book.pointer))
    worth = names.price[book.symbol] * book.shares // 100
    np.add.at(counted, owner, worth * (book.haircut[book.symbol] / RATIO_ONE))
    health = counted[indebted] / book.owed[indebted]
    return {
        "policy": pack.name,
        "policy_sha256": pack.sha256,
        "onboarding": "refused",
        "onboarding_reason": onboarding_refusal(policy),
        "rows": checked.rows,
        "quarantined": checked.quarantined,
        "accounts": book.clients,
        "indebted": int(indebted.sum()),
        "collateral": units(int(worth.sum())),
        "debt": units(int(book.owed.sum())),
        "health_below_110_share": float(np.mean(health < 1.10)) if indebted.any() else None,
        "health_below_125_share": float(np.mean(health < 1.25)) if indebted.any() else None,
        "scenario": row(scenario.name, scenario),
        "falls": [row(f"fall {f:.0%}", Scenario("fall", -f, sessions=1)) for f in FALLS],
    }


def positions_text(document: dict[str, Any]) -> str:
    """The document for a person."""
    lines = [
        f"{document['accounts']:,} positions, {document['indebted']:,} with debt; collateral"
        f" {document['collateral']}, debt {document['debt']}; {document['rows']:,} rows through the"
        f" contracts, {document['quarantined']:,} quarantined",
        f"{'':<16}{'liquidated':>11}{'sold':>22}{'short':>7}{'shortfall':>20}",
    ]
    for r in [*document["falls"], document["scenario"]]:
        lines.append(
            f"{r['name']:<16}{r['liquidated']:>11,}{r['sold']:>22}{r['shortfalls']:>7,}"
            f"{r['shortfall']:>20}"
        )
    return "\n".join([*lines, str(document["onboarding_reason"])])
