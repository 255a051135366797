"""One planted fault for every rule: how rows that keep all rules are made to break just that one.

``plant_fault`` changes the rows of all tables in place and says which row of which table is bad.
A new rule between tables without an entry in ``FAULTS`` fails the tests.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from data_contracts.quality.rules import Rule, row_rule_name
from data_contracts.row_rules import Bound, NotNull, OneOf, Ordered, row_rules
from data_contracts.tables import TABLES

Row = dict[str, Any]
Tables = dict[str, list[Row]]
BAD = 117
DAY = dt.timedelta(days=1)


def break_row(rule, row: Row) -> None:
    """Change a good row so that the rule is the first that it breaks."""
    column = rule.columns[0]
    match rule:
        case NotNull():
            row[column] = None
        case Bound(sign=sign, bound=bound):
            row[column] = bound + {">=": -1, "<=": 1, ">": 0}[sign]
        case OneOf():
            row[column] = "nonsense"
        case Ordered(sign=sign, word=word):
            right = row[rule.columns[1]]
            step = DAY if isinstance(right, dt.date) else 1
            row[column] = {">=": right - step, "<=": right + step, ">": right}[sign]
            if word is not None:
                row[rule.columns[2]] = word


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case None:
            return "other"
        case dt.date():
            return value + DAY
        case bytes():
            return value + b"!"
        case str():
            return value + "!"
    return value + 1


def _duplicate(rule: Rule, rows: list[Row]) -> int:
    """The same key and known_at with other content comes later."""
    spec = TABLES[rule.table]
    rows.append(dict(rows[BAD]))
    free = [c for c in spec.columns[:-2] if c.name not in spec.key and c.name != spec.event]
    column = next(c for c in reversed(free) if not c.choices)
    rows[BAD][column.name] = _other(rows[BAD][column.name])
    return BAD


def _suspended(tables: Tables) -> None:
    tables["bars"][BAD]["suspended"] = True


def _dear_fill(tables: Tables) -> None:
    tables["instruments"][BAD]["price_limit_ratio"] = Decimal("0.1")
    tables["trades"][BAD]["price"] = Decimal("1.15")


def _dear_bar(tables: Tables) -> None:
    tables["instruments"][BAD]["price_limit_ratio"] = Decimal("0.1")
    tables["bars"][BAD]["high"] = Decimal("1.12")


def _never_held(tables: Tables) -> None:
    tables["trades"][BAD]["symbol"] = tables["trades"][BAD + 1]["symbol"]


def _too_many_held(tables: Tables) -> None:
    tables["positions"][BAD]["quantity_shares"] = 3


def _overlap(tables: Tables) -> None:
    before = tables["positions"][BAD] | {"from_session": dt.date(2019, 12, 30)}
    tables["positions"].append(before)


def _missing_cent(tables: Tables) -> None:
    tables["balances"][BAD]["cash_amt"] = Decimal("0.01")


def _missing_debt(tables: Tables) -> None:
    tables["balances"][BAD]["debt_amt"] = Decimal("0.99")


def _late_close(tables: Tables) -> None:
    tables["sessions"][BAD - 1]["close_at"] += dt.timedelta(seconds=1)


FAULTS: dict[str, Callable[[Tables], None]] = {
    "trades.not_suspended": _suspended,
    "trades.price_inside_limits": _dear_fill,
    "bars.prices_inside_limits": _dear_bar,
    "trades.reach_positions": _never_held,
    "positions.quantity_reconciles": _too_many_held,
    "positions.no_overlap": _overlap,
    "balances.cash_reconciles": _missing_cent,
    "balances.debt_is_sum_of_contracts": _missing_debt,
    "sessions.no_overlap": _late_close,
}


def plant_fault(rule: Rule, tables: Tables) -> int:
    """Break one rule; returns the row of the rule's table that is bad."""
    rows = tables[rule.table]
    row = rows[BAD]
    match rule.kind:
        case "row":
            spec = TABLES[rule.table]
            by_name = {row_rule_name(spec, r): r for r in row_rules(spec)}
            break_row(by_name[rule.name], row)
        case "key":
            return _duplicate(rule, rows)
        case "reference":
            row[rule.columns[0]] = "nobody"
        case "clock":
            row["known_at"] = row["event_at"] - DAY
        case "fresh":
            del rows[BAD + 1 :]
        case "cross":
            FAULTS[rule.name](tables)
    return BAD
