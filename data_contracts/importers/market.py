"""From the daily form to a market folder, new or merged into the one that is there."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.importers.daily import (
    PRICES,
    VALUES,
    Daily,
    DateArray,
    Security,
    merge,
    sorted_daily,
    state_changes,
    with_suspensions,
)
from data_contracts.importers.formats import (
    read_ashare_daily,
    read_shibor,
    read_us_close,
    read_us_daily,
)
from data_contracts.importers.raw import Read
from data_contracts.importers.report import FORMATS, ImportReport, Progress
from data_contracts.lake import (
    LakeInfo,
    create_lake,
    decimal_to_int,
    lake_info,
    read_table,
    write_shared,
)
from data_contracts.units import NULL, IntArray

_BARS_KNOWN_AFTER: Final = np.timedelta64(30, "m")
_CALENDAR_KNOWN_BEFORE: Final = np.timedelta64(1, "D")
_FIXING: Final = dt.time(11, 30)
_DAYS: Final = 10**7  # more than the days of any calendar


@dataclass(frozen=True)
class Market:
    """A format's calendar, currency, hours and flags; with ``fill`` a gap is a suspension."""

    mic: str
    currency: str
    zone: ZoneInfo
    opens: dt.time
    closes: dt.time
    flags: tuple[str, ...] = ()
    fill: bool = False


CHINA: Final = Market(
    "XSHG", "CNY", ZoneInfo("Asia/Shanghai"), dt.time(9, 30), dt.time(15, 0), fill=True
)
UNITED_STATES: Final = Market(
    "XNYS", "USD", ZoneInfo("America/New_York"), dt.time(9, 30), dt.time(16, 0), ("survivor-only",)
)
CLOSES_ONLY: Final = replace(UNITED_STATES, flags=("closes-only", "survivor-only"))

_READERS: Final = {
    "ashare-daily": (read_ashare_daily, CHINA),
    "us-daily": (read_us_daily, UNITED_STATES),
    "us-close": (read_us_close, CLOSES_ONLY),
}


def import_market(
    files: Sequence[Path], fmt: str, out: Path, *, progress: Progress | None = None
) -> ImportReport:
    """Import price files, or a funding curve, into a market folder.

    Files are taken in order. Rows of a file replace rows of the same key from files before it and
    from the folder, which must have been made from the same format. ``cn-shibor`` adds the table
    ``rates`` to a market folder that exists. ``data_contracts.importers.formats`` states the
    columns of each format.

    Raises
    ------
    InputError
        If a file or the folder cannot be used; nothing is written then.
    """
    if fmt not in FORMATS:
        raise InputError(f"unknown format {fmt!r}; the formats are {', '.join(FORMATS)}")
    if not files:
        raise InputError(f"no file to import as {fmt}; name at least one")
    if fmt == "cn-shibor":
        return _import_curve(files, out, progress)
    reader, market = _READERS[fmt]
    info = existing_market(out, fmt)
    reads = []
    for number, path in enumerate(files):
        _tell(progress, f"reading {path.name}", number, len(files) + 1)
        reads.append(reader(path))
    _tell(progress, f"writing {out}", len(files), len(files) + 1)
    source = _source(info, fmt, files)
    report = write_market(out, fmt, market, reads, source, merge_into=info is not None)
    _tell(progress, f"wrote {out}", len(files) + 1, len(files) + 1)
    return report


def existing_market(out: Path, fmt: str) -> LakeInfo | None:
    """The folder's ``lake.json``, or None if there is nothing yet; another format's is refused."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the market")
    if not (out / "lake.json").is_file():
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} holds files and no lake.json; name a new or an empty folder")
        return None
    info = lake_info(out)
    if not info.source.startswith(f"{fmt}: "):
        raise InputError(
            f"a market folder holds one format: {out} was made from {info.source!r}, not {fmt};"
            " name another folder"
        )
    return info


def write_market(
    out: Path, fmt: str, market: Market, reads: Sequence[Read], source: str, *, merge_into: bool
) -> ImportReport:
    """Merge what was read, into what the folder holds if ``merge_into``, and write the tables."""
    daily, sessions = _stored(out, market) if merge_into else (None, None)
    overwritten = 0
    inexact: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for read in reads:
        daily, replaced = merge(daily, read.daily)
        overwritten += replaced
        sessions = read.sessions if sessions is None else np.union1d(sessions, read.sessions)
        for name, count in read.inexact.items():
            inexact[name] += count
        dropped.update(read.dropped)
    assert daily is not None
    assert sessions is not None
    full = with_suspensions(daily, sessions) if market.fill else daily
    opens, closes = (_at(sessions, clock, market.zone) for clock in (market.opens, market.closes))
    rows_written = {
        "bars": write_shared(out, "bars", _bars(full, sessions, closes)),
        "instruments": write_shared(
            out, "instruments", _instruments(daily, market, sessions, opens)
        ),
        "sessions": write_shared(out, "sessions", _sessions(market, sessions, opens, closes)),
    }
    # Last: a folder in which writing was cut short for the first time is not yet a lake.
    create_lake(out, LakeInfo(market.currency, market.mic, 256, source, market.flags))
    return ImportReport(
        format=fmt,
        symbols=len(daily.securities),
        first_session=sessions[0].item(),
        last_session=sessions[-1].item(),
        rows=rows_written,
        inexact=dict(inexact),
        suspended_bars=int(full.values["suspended"].sum()),
        unknown_limits=sum(read.unknown_limits for read in reads),
        overwritten_rows=overwritten,
        dropped_rows=dict(dropped),
    )


def _bars(daily: Daily, sessions: DateArray, closes: DateArray) -> dict[str, Any]:
    close_at = closes[np.searchsorted(sessions, daily.day)]
    columns: dict[str, Any] = {name: daily.values[name] for name in PRICES}
    return columns | {
        "symbol": _text([s.symbol for s in daily.securities], daily.code),
        "mic": _text([s.mic for s in daily.securities], daily.code),
        "session": daily.day,
        "volume_shares": daily.values["volume_shares"],
        "turnover_amt": daily.values["turnover_amt"],
        "suspended": daily.values["suspended"] == 1,
        "event_at": close_at,
        "known_at": close_at + _BARS_KNOWN_AFTER,
    }


def _instruments(
    daily: Daily, market: Market, sessions: DateArray, opens: DateArray
) -> dict[str, Any]:
    changed = daily.rows(state_changes(daily))
    code, rows = changed.code, len(changed.code)
    boards = [s.board for s in daily.securities]
    special = changed.values["is_special_treatment"] == 1
    eligible = ~special & (np.array(boards)[code] != "index")
    open_at = opens[np.searchsorted(sessions, changed.day)]
    listed = np.array([s.listed_on for s in daily.securities], dtype="datetime64[D]")[code]
    return {
        "symbol": _text([s.symbol for s in daily.securities], code),
        "mic": _text([s.mic for s in daily.securities], code),
        "session": changed.day,
        "board": _text(boards, code),
        "currency": pa.array([market.currency] * rows),
        "price_limit_ratio": changed.values["price_limit_ratio"],
        "collateral_haircut_ratio": np.full(rows, NULL, dtype=np.int64),
        "margin_eligible": eligible,
        "collateral_eligible": eligible,
        "is_special_treatment": special,
        "listed_on": listed,
        "industry": pa.nulls(rows, pa.string()),
        "float_shares": changed.values["float_shares"],
        "event_at": open_at,
        "known_at": open_at,
    }


def _sessions(
    market: Market, sessions: DateArray, opens: DateArray, closes: DateArray
) -> dict[str, Any]:
    return {
        "mic": pa.array([market.mic] * len(sessions)),
        "session": sessions,
        "open_at": opens,
        "close_at": closes,
        "event_at": opens,
        "known_at": opens - _CALENDAR_KNOWN_BEFORE,
    }


def _stored(out: Path, market: Market) -> tuple[Daily, DateArray]:
    """The folder's market in daily form, without the suspensions that were filled in."""
    bars, instruments = read_table(out, "bars"), read_table(out, "instruments")
    if market.fill:
        bars = bars.filter(pc.invert(bars["suspended"]))
    latest = {row["symbol"]: row for row in instruments.to_pylist()}
    securities = [
        Security(name, row["mic"], row["board"], np.datetime64(row["listed_on"] or "NaT", "D"))
        for name, row in sorted(latest.items())
    ]
    names = pa.array([s.symbol for s in securities])
    bar_code, state_code = (
        np.asarray(pc.index_in(t["symbol"], value_set=names)).astype(np.int64)
        for t in (bars, instruments)
    )
    bar_day, state_day = (_dates(table) for table in (bars, instruments))
    # Both tables are stored by symbol and session: the last state at or before each bar.
    bar_key = bar_code * _DAYS + bar_day.astype(np.int64)
    state_key = state_code * _DAYS + state_day.astype(np.int64)
    state = np.searchsorted(state_key, bar_key, side="right") - 1
    values: dict[str, IntArray] = {}
    for name in VALUES:
        table, rows = (bars, slice(None)) if name in bars.column_names else (instruments, state)
        column = table[name]
        if pa.types.is_decimal(column.type):
            values[name] = decimal_to_int(column)[rows]
        else:
            values[name] = np.asarray(column.cast(pa.int64()).fill_null(NULL))[rows]
    stored, _ = sorted_daily(securities, bar_code, bar_day, values)
    return stored, np.sort(_dates(read_table(out, "sessions")))


def _dates(table: pa.Table) -> DateArray:
    return np.asarray(table["session"]).astype("datetime64[D]")


def _import_curve(files: Sequence[Path], out: Path, progress: Progress | None) -> ImportReport:
    info = lake_info(out)
    if info.currency != CHINA.currency:
        raise InputError(
            f"cn-shibor is a curve in CNY: {out} is a market in {info.currency};"
            " name a market in CNY"
        )
    points: dict[tuple[np.datetime64, int], int] = {}
    if (out / "rates").is_dir():
        stored = read_table(out, "rates")
        keys = zip(_dates(stored), stored["tenor_days"].to_pylist(), strict=True)
        points = dict(zip(keys, stored["rate_bps"].to_pylist(), strict=True))
    inexact: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    read_rows, before = 0, len(points)
    for number, path in enumerate(files):
        _tell(progress, f"reading {path.name}", number, len(files))
        day, tenor, rate, rough, left_out = read_shibor(path)
        points.update(zip(zip(day, tenor.tolist(), strict=True), rate.tolist(), strict=True))
        inexact.update(rough)
        dropped.update(left_out)
        read_rows += len(day)
    if not points:
        raise InputError(f"{files[0]} has no rate; export it again")
    keys_sorted = sorted(points)
    session = np.array([k[0] for k in keys_sorted], dtype="datetime64[D]")
    unique, place = np.unique(session, return_inverse=True)
    fixed_at = _at(unique, _FIXING, CHINA.zone)[place]
    columns = {
        "session": session,
        "tenor_days": np.array([k[1] for k in keys_sorted], dtype=np.int64),
        "rate_bps": np.array([points[k] for k in keys_sorted], dtype=np.int64),
        "event_at": fixed_at,
        "known_at": fixed_at,
    }
    rows = write_shared(out, "rates", columns)
    create_lake(out, replace(info, source=_source(info, "cn-shibor", files)))
    _tell(progress, f"wrote {out}", len(files), len(files))
    return ImportReport(
        format="cn-shibor",
        symbols=0,
        first_session=unique[0].item(),
        last_session=unique[-1].item(),
        rows={"rates": rows},
        inexact=dict(inexact),
        suspended_bars=0,
        unknown_limits=0,
        overwritten_rows=before + read_rows - rows,
        dropped_rows=dict(dropped),
    )


def _at(sessions: DateArray, clock: dt.time, zone: ZoneInfo) -> DateArray:
    """The UTC time of a clock time of the market on each session."""
    local = (dt.datetime.combine(day, clock, zone) for day in sessions.tolist())
    utc = [moment.astimezone(dt.UTC).replace(tzinfo=None) for moment in local]
    return np.array(utc, dtype="datetime64[us]")


def _text(values: list[str], code: IntArray) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(code))


def _source(info: LakeInfo | None, fmt: str, files: Sequence[Path]) -> str:
    new = f"{fmt}: {', '.join(path.name for path in files)}"
    old = info.source if info is not None else ""
    if not old or new in old.split("; "):
        return old or new
    return f"{old}; {new}"


def _tell(progress: Progress | None, step: str, done: int, total: int) -> None:
    if progress is not None:
        progress(step, done, total)
