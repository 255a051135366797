"""The price panel: a market's securities and sessions as dense integer arrays.

Built from the shared tables ``bars``, ``instruments``, ``sessions`` of a lake, and of
``security_financing`` where the lake has it; used by the features, by the market laboratory and by
the builder of the market snapshot.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int, lake_info, latest_versions, read_table, visible_rows
from data_contracts.units import NULL, BoolArray, FloatArray, IntArray
from features.calendar import cut_off, cut_offs

DateArray = npt.NDArray[np.datetime64]

_BY_SESSION: Final = (
    "sessions", "close_at", "close", "pre_close", "volume_shares", "suspended", "price_limit",
    "haircut", "margin_eligible", "collateral_eligible", "special_treatment", "index_close",
    "industry", "turnover_amt", "financing_amt", "float_value_amt",
)  # fmt: skip


@dataclass(frozen=True)
class PricePanel:
    """Securities by sessions. Prices are in 0.0001, ratios in 1e-6, ``NULL`` where undefined.

    Attributes
    ----------
    sessions : datetime64[D], shape (T,), ascending
    close_at : datetime64[us], shape (T,), UTC close of each session
    symbols : tuple of N symbols, ascending; index symbols are not among them
    close, pre_close, volume_shares : int64, shape (T, N). ``close`` carries the last close while
        suspended and is ``NULL`` before the first bar and after the last.
    suspended : bool, shape (T, N)
    price_limit, haircut : int64 in 1e-6, shape (T, N), ``NULL`` for none or unknown
    margin_eligible, collateral_eligible, special_treatment : bool, shape (T, N)
    board : tuple of N boards
    index_close : int64, shape (T,), the market index, ``NULL`` where there is none
    industry : int64 codes, shape (T, N), -1 where unknown; None if no name has one
    listed_on : datetime64[D], shape (N,), ``NaT`` where unknown; None if no name has one
    turnover_amt : int64 minor units, shape (T, N), ``NULL`` where unknown; None if no bar has one
    financing_amt, float_value_amt : int64 minor units, shape (T, N): margin debt in a name and its
        tradable value, the last that were published by each session's cut-off; ``NULL`` before any,
        None where the lake has no such table
    """

    mic: str
    currency: str
    sessions: DateArray
    close_at: npt.NDArray[np.datetime64]
    symbols: tuple[str, ...]
    close: IntArray
    pre_close: IntArray
    volume_shares: IntArray
    suspended: BoolArray
    price_limit: IntArray
    haircut: IntArray
    margin_eligible: BoolArray
    collateral_eligible: BoolArray
    special_treatment: BoolArray
    board: tuple[str, ...]
    index_close: IntArray
    industry: IntArray | None = None
    listed_on: DateArray | None = None
    turnover_amt: IntArray | None = None
    financing_amt: IntArray | None = None
    float_value_amt: IntArray | None = None

    def session_index(self, session: np.datetime64) -> int:
        """Position of the last session at or before a date.

        Raises
        ------
        InputError
            If the date lies before the first session or after the last.
        """
        day = session.astype("datetime64[D]")
        if day < self.sessions[0] or day > self.sessions[-1]:
            raise InputError(
                f"{day} is outside the market's sessions, {self.sessions[0]} to {self.sessions[-1]}"
            )
        return int(np.searchsorted(self.sessions, day, side="right")) - 1

    def until(self, t: int) -> PricePanel:
        """The panel as it stood at a session: nothing later can be read from it."""
        held = {name: getattr(self, name) for name in _BY_SESSION}
        return replace(self, **{n: a[: t + 1] for n, a in held.items() if a is not None})

    def part(self, rows: slice, names: IntArray) -> PricePanel:
        """Some sessions and some names (positions, ascending), copied to lie together."""

        def cut(block: npt.NDArray[Any] | None) -> Any:
            if block is None:
                return None
            return np.ascontiguousarray(block[rows, names] if block.ndim == 2 else block[rows])

        return replace(
            self,
            symbols=tuple(self.symbols[k] for k in names),
            board=tuple(self.board[k] for k in names),
            listed_on=None if self.listed_on is None else self.listed_on[names],
            **{name: cut(getattr(self, name)) for name in _BY_SESSION},
        )

    def simple_returns(self) -> FloatArray:
        """Returns close/reference - 1, shape (T, N); NaN where undefined or suspended.

        The reference is the exchange's ``pre_close`` where there is one, else the previous close.
        """
        close = np.where(self.close == NULL, np.nan, self.close.astype(np.float64))
        reference = np.full_like(close, np.nan)
        reference[1:] = close[:-1]
        given = self.pre_close != NULL
        reference[given] = self.pre_close[given].astype(np.float64)
        out = close / reference - 1.0
        out[self.suspended] = np.nan
        return out

    def index_returns(self) -> FloatArray:
        """Index returns, shape (T,); without an index the equal-weighted mean of the securities."""
        if bool(np.all(self.index_close != NULL)):
            out = np.full(len(self.sessions), np.nan)
            level = self.index_close.astype(np.float64)
            out[1:] = level[1:] / level[:-1] - 1.0
            return out
        returns = self.simple_returns()
        valid = ~np.isnan(returns)
        total = np.where(valid, returns, 0.0).sum(axis=1)
        count = valid.sum(axis=1)
        out = np.full(len(self.sessions), np.nan)
        out[count > 0] = total[count > 0] / count[count > 0]
        return out


def _codes(column: pa.ChunkedArray, names: list[str]) -> IntArray:
    codes = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return np.asarray(codes.fill_null(-1)).astype(np.int64)


def load_panel(root: Path, *, known_by: dt.date | None = None) -> PricePanel:
    """Read the shared market tables of a lake into a panel.

    ``known_by`` leaves out what was not known at that day's cut-off: prices that came or were
    corrected later. A security that was listed later stays, without prices.
    """
    info = lake_info(root)
    calendar = read_table(root, "sessions").sort_by("session")
    sessions = np.asarray(calendar["session"]).astype("datetime64[D]")
    close_at = np.asarray(calendar["close_at"]).astype("datetime64[us]")
    instruments = read_table(root, "instruments").sort_by([("session", "ascending")])
    boards: dict[str, str] = dict(
        zip(instruments["symbol"].to_pylist(), instruments["board"].to_pylist(), strict=True)
    )
    symbols = sorted(s for s, b in boards.items() if b != "index")
    index_symbols = sorted(s for s, b in boards.items() if b == "index")
    if not symbols or len(sessions) == 0:
        raise InputError(
            f"{root}: the market has no securities or no sessions; import a market first"
        )
    shape = (len(sessions), len(symbols))

    bars = read_table(root, "bars")
    if known_by is not None:
        bars = _as_known(bars, cut_off(known_by, info.mic))
    row = np.searchsorted(sessions, np.asarray(bars["session"]).astype("datetime64[D]"))
    code = _codes(bars["symbol"], symbols)
    own = code >= 0
    close = np.full(shape, NULL, dtype=np.int64)
    pre_close = np.full(shape, NULL, dtype=np.int64)
    volume = np.full(shape, NULL, dtype=np.int64)
    suspended = np.zeros(shape, dtype=bool)
    bar_close = decimal_to_int(bars["close"])
    close[row[own], code[own]] = bar_close[own]
    pre_close[row[own], code[own]] = decimal_to_int(bars["pre_close"])[own]
    traded = np.asarray(bars["volume_shares"].fill_null(NULL)).astype(np.int64)
    volume[row[own], code[own]] = traded[own]
    suspended[row[own], code[own]] = np.asarray(bars["suspended"])[own]
    turnover: IntArray | None = None
    if bars["turnover_amt"].null_count < len(bars):
        turnover = np.full(shape, NULL, dtype=np.int64)
        turnover[row[own], code[own]] = decimal_to_int(bars["turnover_amt"])[own]

    index_close = np.full(len(sessions), NULL, dtype=np.int64)
    if index_symbols:
        of_index = _codes(bars["symbol"], index_symbols[:1]) == 0
        index_close[row[of_index]] = bar_close[of_index]

    limit = np.full(shape, NULL, dtype=np.int64)
    haircut = np.full(shape, NULL, dtype=np.int64)
    flags = {
        n: np.zeros(shape, dtype=bool)
        for n in ("margin_eligible", "collateral_eligible", "is_special_treatment")
    }
    start = np.searchsorted(sessions, np.asarray(instruments["session"]).astype("datetime64[D]"))
    code = _codes(instruments["symbol"], symbols)
    limits = decimal_to_int(instruments["price_limit_ratio"])
    haircuts = decimal_to_int(instruments["collateral_haircut_ratio"])
    industries = _known_names(instruments["industry"])
    of_industry = np.full(shape, -1, dtype=np.int64)
    industry_code = _codes(instruments["industry"], industries)
    listed_on = np.full(len(symbols), np.datetime64("NaT", "D"))
    listed = _days(instruments["listed_on"])
    flag_values = {n: np.asarray(instruments[n]) for n in flags}
    for k in range(len(code)):
        if code[k] < 0 or start[k] >= len(sessions):
            continue
        limit[start[k] :, code[k]] = limits[k]
        haircut[start[k] :, code[k]] = haircuts[k]
        of_industry[start[k] :, code[k]] = industry_code[k]
        if not np.isnat(listed[k]):
            listed_on[code[k]] = listed[k]
        for name, block in flags.items():
            block[start[k] :, code[k]] = flag_values[name][k]
    return PricePanel(
        mic=info.mic,
        currency=info.currency,
        sessions=sessions,
        close_at=close_at,
        symbols=tuple(symbols),
        close=close,
        pre_close=pre_close,
        volume_shares=volume,
        suspended=suspended,
        price_limit=limit,
        haircut=haircut,
        margin_eligible=flags["margin_eligible"],
        collateral_eligible=flags["collateral_eligible"],
        special_treatment=flags["is_special_treatment"],
        board=tuple(boards[s] for s in symbols),
        index_close=index_close,
        industry=of_industry if industries else None,
        listed_on=None if bool(np.all(np.isnat(listed_on))) else listed_on,
        turnover_amt=turnover,
        **_financing(root, symbols, sessions, info.mic),
    )


def _as_known(bars: pa.Table, cut: np.datetime64) -> pa.Table:
    """Of each bar the version that counted at a cut-off; nothing is sorted where all did."""
    visible = visible_rows(bars, cut)
    symbol = visible["symbol"].combine_chunks().dictionary_encode()
    day = np.asarray(visible["session"].cast(pa.int32())).astype(np.int64)
    key = day * len(symbol.dictionary) + np.asarray(symbol.indices).astype(np.int64)
    once = len(np.unique(key)) == len(key)
    return visible if once else latest_versions(visible, ("session", "symbol"))


def _known_names(column: pa.ChunkedArray) -> list[str]:
    names: list[str] = sorted(name for name in pc.unique(column).to_pylist() if name is not None)
    return names


def _days(column: pa.ChunkedArray) -> DateArray:
    days = np.asarray(column.cast(pa.int32()).fill_null(0)).astype("datetime64[D]")
    days[np.asarray(column.is_null())] = np.datetime64("NaT", "D")
    return days


def _financing(
    root: Path, symbols: list[str], sessions: DateArray, mic: str
) -> dict[str, IntArray]:
    """Margin debt and tradable value as published by each cut-off; nothing without the table."""
    if not (root / "security_financing").is_dir():
        return {}
    table = read_table(root, "security_financing")
    code = _codes(table["symbol"], symbols)
    stamps = [np.asarray(table[n].cast(pa.int64())) for n in ("event_at", "known_at")]
    cuts = cut_offs(sessions, mic)
    seen = np.searchsorted(cuts, np.maximum(*stamps))
    session = np.asarray(table["session"]).astype("datetime64[D]")
    mine = np.flatnonzero((code >= 0) & (seen < len(sessions)))
    # In order of what is newest: a later session, then a later version of the same.
    mine = mine[np.lexsort((stamps[1][mine], session[mine]))]
    newest = np.full((len(sessions), len(symbols)), -1, dtype=np.int64)
    np.maximum.at(newest, (seen[mine], code[mine]), np.arange(len(mine)))
    newest = np.maximum.accumulate(newest, axis=0)
    out: dict[str, IntArray] = {}
    for name, column in (
        ("financing_amt", "financing_balance_amt"),
        ("float_value_amt", "float_value_amt"),
    ):
        values = np.append(decimal_to_int(table[column])[mine], NULL)
        out[name] = values[newest]  # -1 takes the last
    return out
