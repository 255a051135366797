"""A generated market as a market folder, the form that ``market import`` writes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.importers.market import existing_market
from data_contracts.lake import (
    LakeInfo,
    create_lake,
    decimal_to_int,
    lake_info,
    read_table,
    write_shared,
)
from data_contracts.units import NULL, IntArray
from features.panel import DateArray, PricePanel, load_panel
from training.lab.generated.markets import SETTINGS, GeneratedMarket, Settings, generate_traced
from training.lab.generated.source import reduced

FLAG: Final = "generated"
_KNOWN_AFTER: Final = np.timedelta64(30, "m")
_CALENDAR_KNOWN_BEFORE: Final = np.timedelta64(1, "D")
_OPEN_FOR: Final = np.timedelta64(390, "m")
_INDEX: Final = "INDEX"


@dataclass(frozen=True)
class _Origin:
    """What a source states beside its prices; without a folder little is known."""

    panel: PricePanel
    root: Path | None
    flags: tuple[str, ...]
    name: str
    open_for: np.timedelta64
    index: tuple[str, str]
    mics: dict[str, str]
    industries: dict[str, str | None]
    shares: dict[str, int | None]


def write_generated_market(
    source: Path | PricePanel,
    seed: int,
    out: Path,
    *,
    sessions: int,
    first_day: dt.date = dt.date(2001, 1, 1),
    symbols: int | None = None,
    settings: Settings = SETTINGS,
) -> PricePanel:
    """Generate a market, write it as a market folder, return its panel.

    The folder's flags are the source's and ``generated``. A curve of ``rates`` and the
    ``security_financing`` of a source folder are those known in the sessions that were drawn.

    Raises
    ------
    InputError
        If the source cannot be used or ``out`` holds something else.
    """
    existing_market(out, FLAG)
    origin = _origin(source)
    made = generate_traced(
        origin.panel, seed, sessions=sessions, first_day=first_day, symbols=symbols,
        settings=settings,
    )  # fmt: skip
    panel = made.panel
    opens = panel.close_at - origin.open_for
    write_shared(out, "bars", _bars(panel, origin))
    write_shared(out, "instruments", _instruments(panel, origin, opens))
    write_shared(
        out,
        "sessions",
        {
            "mic": pa.array([panel.mic] * sessions),
            "session": panel.sessions,
            "open_at": opens,
            "close_at": panel.close_at,
            "event_at": opens,
            "known_at": opens - _CALENDAR_KNOWN_BEFORE,
        },
    )
    if origin.root is not None and (origin.root / "rates").is_dir():
        write_shared(out, "rates", _rates(origin.root, origin.panel, made, opens))
    if origin.root is not None and (origin.root / "security_financing").is_dir():
        write_shared(out, "security_financing", _financing(origin, made, symbols))
    flags = (*origin.flags, *(() if FLAG in origin.flags else (FLAG,)))
    told = f"{FLAG}: seed {seed}, {sessions} sessions drawn from {origin.name}"
    create_lake(out, LakeInfo(panel.currency, panel.mic, 256, told, flags))
    return panel


def _origin(source: Path | PricePanel) -> _Origin:
    if isinstance(source, PricePanel):
        free = _INDEX if _INDEX not in source.symbols else f"{_INDEX}-{source.mic}"
        return _Origin(
            panel=source, root=None, flags=(), name=f"a panel of {source.mic}", open_for=_OPEN_FOR,
            index=(free, source.mic), mics={}, industries={}, shares={},
        )  # fmt: skip
    info, panel = lake_info(source), load_panel(source)
    calendar = read_table(source, "sessions")
    opened, closed = (
        np.asarray(calendar[n]).astype("datetime64[us]") for n in ("open_at", "close_at")
    )
    stated = read_table(source, "instruments").sort_by("session").to_pylist()
    latest = {row["symbol"]: row for row in stated}
    index = sorted((s, r["mic"]) for s, r in latest.items() if r["board"] == "index")
    return _Origin(
        panel=panel,
        root=source,
        flags=info.flags,
        name=info.source,
        open_for=np.sort(closed - opened)[len(opened) // 2],
        index=index[0] if index else (_INDEX, panel.mic),
        mics={s: r["mic"] for s, r in latest.items()},
        industries={s: r["industry"] for s, r in latest.items()},
        shares={s: r["float_shares"] for s, r in latest.items()},
    )


def _bars(panel: PricePanel, origin: _Origin) -> dict[str, Any]:
    """One row a name and session, sorted by name; the index comes last."""
    sessions, names = panel.close.shape
    indexed = bool(np.all(panel.index_close != NULL))
    symbols = [*panel.symbols, *([origin.index[0]] if indexed else [])]
    mics = [origin.mics.get(s, panel.mic) for s in symbols]
    code = np.repeat(np.arange(len(symbols)), sessions)
    unknown = np.full(len(code), NULL, dtype=np.int64)

    def column(values: IntArray, of_index: IntArray) -> IntArray:
        flat = values.T.reshape(-1)
        return np.concatenate([flat, of_index]) if indexed else flat

    nothing = np.full(sessions, NULL, dtype=np.int64)
    close_at = np.tile(panel.close_at, len(symbols))
    return {
        "symbol": _text(symbols, code),
        "mic": _text(mics, code),
        "session": np.tile(panel.sessions, len(symbols)),
        "open": unknown,
        "high": unknown,
        "low": unknown,
        "close": column(panel.close, panel.index_close),
        "pre_close": column(panel.pre_close, nothing),
        "volume_shares": column(panel.volume_shares, nothing),
        "turnover_amt": (
            unknown if panel.turnover_amt is None else column(panel.turnover_amt, nothing)
        ),
        "suspended": np.concatenate(
            [panel.suspended.T.reshape(-1), np.zeros(len(code) - sessions * names, dtype=bool)]
        ),
        "event_at": close_at,
        "known_at": close_at + _KNOWN_AFTER,
    }


def _instruments(panel: PricePanel, origin: _Origin, opens: DateArray) -> dict[str, Any]:
    """A row for each name's first session and for each session at which a value changes."""
    changed = np.zeros(panel.close.shape, dtype=bool)
    changed[0] = True
    for block in (
        panel.price_limit, panel.haircut, panel.margin_eligible, panel.collateral_eligible,
        panel.special_treatment,
    ):  # fmt: skip
        changed[1:] |= block[1:] != block[:-1]
    code, at = np.nonzero(changed.T)
    cell = (at, code)
    symbols, boards = list(panel.symbols), list(panel.board)
    extra = 0
    if bool(np.all(panel.index_close != NULL)):
        symbols, boards, extra = [*symbols, origin.index[0]], [*boards, "index"], 1
    full = np.append(code, np.full(extra, len(symbols) - 1))
    when = np.append(at, np.zeros(extra, dtype=np.int64))
    rows = len(full)
    none, no = np.full(extra, NULL, dtype=np.int64), np.zeros(extra, dtype=bool)
    return {
        "symbol": _text(symbols, full),
        "mic": _text([origin.mics.get(s, panel.mic) for s in symbols], full),
        "session": panel.sessions[when],
        "board": _text(boards, full),
        "currency": pa.array([panel.currency] * rows),
        "price_limit_ratio": np.append(panel.price_limit[cell], none),
        "collateral_haircut_ratio": np.append(panel.haircut[cell], none),
        "margin_eligible": np.append(panel.margin_eligible[cell], no),
        "collateral_eligible": np.append(panel.collateral_eligible[cell], no),
        "is_special_treatment": np.append(panel.special_treatment[cell], no),
        "listed_on": pa.nulls(rows, pa.date32()),
        "industry": _text([origin.industries.get(s) for s in symbols], full),
        "float_shares": pa.array([origin.shares.get(s) for s in symbols], pa.int64()).take(
            pa.array(full)
        ),
        "event_at": opens[when],
        "known_at": opens[when],
    }


def _rates(
    root: Path, panel: PricePanel, made: GeneratedMarket, opens: DateArray
) -> dict[str, Any]:
    """The funding curve as known in the source session that each session was drawn from."""
    stored = read_table(root, "rates").sort_by(
        [("session", "ascending"), ("tenor_days", "ascending")]
    )
    day = np.asarray(stored["session"]).astype("datetime64[D]")
    tenor, rate = (np.asarray(stored[n]).astype(np.int64) for n in ("tenor_days", "rate_bps"))
    days, start = np.unique(day, return_index=True)
    end = np.append(start[1:], len(day))
    curve = np.searchsorted(days, panel.sessions[made.market_row], side="right") - 1
    length = np.where(curve >= 0, end[curve] - start[curve], 0)
    session = np.repeat(np.arange(len(curve)), length)
    within = np.arange(len(session)) - np.repeat(np.cumsum(length) - length, length)
    row = np.repeat(start[curve], length) + within
    return {
        "session": made.panel.sessions[session],
        "tenor_days": tenor[row],
        "rate_bps": rate[row],
        "event_at": opens[session],
        "known_at": opens[session],
    }


def _financing(origin: _Origin, made: GeneratedMarket, symbols: int | None) -> dict[str, Any]:
    """Crowding in each name: both amounts of the cell that was drawn, so that the share is kept."""
    assert origin.root is not None
    names = reduced(origin.panel, symbols).symbols
    stored = read_table(origin.root, "security_financing")
    code = np.asarray(pc.index_in(stored["symbol"], value_set=pa.array(names)).fill_null(-1))
    day = np.asarray(stored["session"]).astype("datetime64[D]")
    at = np.searchsorted(origin.panel.sessions, day)
    known = (code >= 0) & (at < len(origin.panel.sessions))
    known[known] = origin.panel.sessions[at[known]] == day[known]
    place = np.full((len(origin.panel.sessions), len(names)), -1, dtype=np.int64)
    place[at[known], code[known]] = np.flatnonzero(known)
    drawn = place[made.row, made.name].T
    name, session = np.nonzero(drawn >= 0)
    row = drawn[name, session]
    close_at = made.panel.close_at[session]
    event, told = (np.asarray(stored[n]).astype("datetime64[us]") for n in ("event_at", "known_at"))
    return {
        "symbol": _text(list(names), name),
        "session": made.panel.sessions[session],
        "financing_balance_amt": decimal_to_int(stored["financing_balance_amt"])[row],
        "float_value_amt": decimal_to_int(stored["float_value_amt"])[row],
        "event_at": close_at,
        "known_at": close_at + np.maximum(told[row] - event[row], _KNOWN_AFTER),
    }


def _text(values: list[Any], code: Any) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(code))
