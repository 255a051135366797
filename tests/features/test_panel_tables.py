"""What the panel reads of names: industry, listing, turnover, and margin debt as published."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.lake import LakeInfo, create_lake, to_arrow, write_parquet
from data_contracts.tables import TABLES
from data_contracts.units import NULL
from features.calendar import cut_off
from features.panel import PricePanel, load_panel

Row = dict[str, Any]
DAYS = [dt.date(2024, 1, 2) + dt.timedelta(days=k) for k in range(8)]
SYMBOLS = ("AAA", "BBB")


def at(day: dt.date, hour: int) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(hour), tzinfo=dt.UTC)


def write(root: Path, name: str, rows: list[Row]) -> None:
    columns: dict[str, Any] = {}
    for c in TABLES[name].columns:
        values: Any = [row.get(c.name) for row in rows]
        if pa.types.is_decimal(c.arrow_type):
            values = np.array([NULL if v is None else v for v in values], dtype=np.int64)
        columns[c.name] = values
    write_parquet(root / name / "part-0.parquet", to_arrow(TABLES[name], columns))


def write_market(root: Path, *, told: bool) -> None:
    """Two names; with ``told`` their industries, listings and turnover are known."""
    create_lake(root, LakeInfo("CNY", "XSHG", 1, "test"))
    stamps = [{"event_at": at(d, 2), "known_at": at(d, 8)} for d in DAYS]
    write(root, "sessions", [
        {"mic": "XSHG", "session": d, "open_at": at(d, 1), "close_at": at(d, 7)} | stamp
        for d, stamp in zip(DAYS, stamps, strict=True)
    ])  # fmt: skip
    flags = dict.fromkeys(("margin_eligible", "collateral_eligible", "is_special_treatment"), False)
    write(root, "instruments", [
        flags | {"symbol": s, "mic": "XSHG", "session": DAYS[first], "board": "main",
                 "currency": "CNY", "industry": industry if told else None,
                 "listed_on": DAYS[0] if told and s == "AAA" else None} | stamps[first]
        for s, first, industry in (("AAA", 0, "bank"), ("BBB", 0, None), ("AAA", 4, "coal"))
    ])  # fmt: skip
    write(root, "bars", [
        {"symbol": s, "mic": "XSHG", "session": d, "close": 10_000, "suspended": False,
         "turnover_amt": 100 * k if told and s == "BBB" else None} | stamps[k]
        for k, d in enumerate(DAYS) for s in SYMBOLS
    ])  # fmt: skip


def test_industry_and_listing_hold_from_their_session_on_and_turnover_by_session(
    tmp_path: Path,
) -> None:
    write_market(tmp_path, told=True)
    panel = load_panel(tmp_path)
    assert panel.industry is not None
    assert panel.listed_on is not None
    assert panel.turnover_amt is not None
    assert panel.industry.T.tolist() == [[0] * 4 + [1] * 4, [-1] * 8]
    assert panel.listed_on.tolist() == [DAYS[0], None]
    assert panel.turnover_amt.T.tolist() == [[NULL] * 8, [100 * k for k in range(8)]]
    before = panel.until(2)
    assert before.industry is not None
    assert before.industry.shape == (3, 2)
    assert before.financing_amt is None


def test_what_the_lake_does_not_tell_is_not_in_the_panel(tmp_path: Path) -> None:
    write_market(tmp_path, told=False)
    panel = load_panel(tmp_path)
    for name in ("industry", "listed_on", "turnover_amt", "financing_amt", "float_value_amt"):
        assert getattr(panel, name) is None, name


@st.composite
def published(draw: st.DrawFn) -> list[Row]:
    """Margin debt of names and sessions, published late, out of order and more than once."""
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 12))):
        session = draw(st.integers(0, 7))
        late = draw(st.integers(0, 3))
        rows.append({
            "symbol": draw(st.sampled_from(SYMBOLS)), "session": DAYS[session],
            "financing_balance_amt": draw(st.integers(0, 10**6)),
            "float_value_amt": draw(st.one_of(st.none(), st.integers(1, 10**9))),
            "event_at": at(DAYS[session], 7),
            "known_at": at(DAYS[session] + dt.timedelta(days=late), 9)
            + dt.timedelta(hours=draw(st.sampled_from((0, 6))), microseconds=number),
        })  # fmt: skip
    return rows


def plainly(rows: list[Row], symbol: str, t: int, column: str) -> int:
    """The newest session's last version among what was known at a cut-off."""
    cut = cast(dt.datetime, cut_off(DAYS[t], "XSHG").item()).replace(tzinfo=dt.UTC)
    seen = [r for r in rows if r["symbol"] == symbol and max(r["event_at"], r["known_at"]) <= cut]
    if not seen:
        return NULL
    value = max(seen, key=lambda r: (r["session"], r["known_at"]))[column]
    return NULL if value is None else int(value)


def financing(root: Path, rows: list[Row]) -> PricePanel:
    write_market(root, told=False)
    write(root, "security_financing", rows)
    return load_panel(root)


@settings(max_examples=25, deadline=None)
@given(rows=published())
def test_margin_debt_is_what_was_published_by_each_cut_off(
    rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    panel = financing(tmp_path_factory.mktemp("lake"), rows)
    for name, column in (
        ("financing_amt", "financing_balance_amt"),
        ("float_value_amt", "float_value_amt"),
    ):
        got = getattr(panel, name)
        want = [[plainly(rows, s, t, column) for s in SYMBOLS] for t in range(len(DAYS))]
        assert got.tolist() == want, name
