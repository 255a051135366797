"""A whole book from market to lake, block by block, with its speed, memory and calibration."""

from __future__ import annotations

import datetime as dt
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.importers import write_sample_market
from data_contracts.lake import lake_info
from data_contracts.units import RATIO_ONE
from features.panel import PricePanel
from training.lab.calibration import Calibrated, calibrate, table_text
from training.lab.generated import write_generated_market
from training.lab.impact import feel_impact
from training.lab.lake import IMPACT, LakeWriter, buckets_for
from training.lab.people import GROUP_BLOCK
from training.lab.rules import MarginRules
from training.lab.simulate import check_clients, compile_engine, set_stage, simulate_block
from training.lab.strengths import STRENGTHS

GENERATED: Final = "generated:"
BLOCK: Final = 20_000
"""Clients lived and written at a time; no row depends on it."""
BLOCK_SESSIONS: Final = 5_300_000
"""Client-sessions of a block at most: a long window takes smaller blocks."""
LEAD_SESSIONS: Final = 260
"""Sessions of a generated market before the window, so that features have a year to look back."""
CALIBRATED_SESSIONS: Final = 6_000_000
"""Client-sessions that the calibration looks at; of a larger book it takes the first buckets."""
Stages = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BookRun:
    """What a run came to.

    Attributes
    ----------
    engine_seconds : in the engine and on collecting its rows
    seconds : with all tables written; making a market, compiling and calibrating are left out
    calibrated_share : share of the clients that the calibration looked at
    """

    clients: int
    sessions: int
    client_sessions: int
    engine_seconds: float
    seconds: float
    peak_rss_mb: int
    calibration: list[Calibrated]
    calibrated_share: float
    flags: tuple[str, ...]
    rows: dict[str, int]
    out: Path

    def as_dict(self) -> dict[str, Any]:
        """The JSON keys of ``lab simulate``."""
        return {
            "clients": self.clients,
            "sessions": self.sessions,
            "client_sessions": self.client_sessions,
            "client_sessions_per_second": round(self.client_sessions / self.engine_seconds),
            "with_tables_per_second": round(self.client_sessions / self.seconds),
            "peak_rss_mb": self.peak_rss_mb,
            "calibration": [c.as_dict() for c in self.calibration],
            "calibrated_share": round(self.calibrated_share, 4),
            "flags": list(self.flags),
            "rows": self.rows,
            "out": str(self.out),
        }

    def text(self) -> str:
        """The same for a terminal."""
        lines = [
            f"{self.clients:,} clients lived {self.client_sessions:,} client-sessions,"
            f" {self.client_sessions / self.engine_seconds:,.0f} a second;"
            f" {self.client_sessions / self.seconds:,.0f} with all tables written;"
            f" at most {self.peak_rss_mb:,} MB",
            "",
            f"calibration, on {self.calibrated_share:.0%} of the clients:",
            table_text(self.calibration),
            "kind `assumption`: nobody has published the figure; only rows of the window `calm` are"
            " fitted to,",
            "all others are predictions",
        ]
        if "survivor-only" in self.flags:
            lines.append("! the market holds survivors only: no level of default may be quoted")
        if IMPACT in self.flags:
            lines.append(
                "! the book's own forced sales moved the prices: these are not the market's"
            )
        lines += ["", f"lake written to {self.out}"]
        return "\n".join(lines + [f"  {name}: {count:,}" for name, count in self.rows.items()])


@contextmanager
def market_folder(
    market: str,
    out: Path,
    first: dt.date,
    last: dt.date,
    *,
    source: Path | None = None,
    names: int | None = None,
) -> Iterator[Path]:
    """The folder of a market; a generated one is made inside ``out`` and removed at the end.

    Raises
    ------
    InputError
        If ``out`` holds something that is no lake, or the market is named wrongly.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / "lake.json").is_file():
        raise InputError(f"{out} is not empty and is no lake; choose another --out")
    if not market.startswith(GENERATED):
        if source is not None or names is not None:
            raise InputError("--source and --names are for --market generated:SEED")
        yield Path(market)
        return
    text = market.removeprefix(GENERATED)
    if not text.isdigit():
        raise InputError(
            f"--market is {market!r}; write generated:SEED, a whole number, or a folder"
        )
    if first >= last:
        raise InputError(f"the first day, {first}, must lie before the last, {last}")
    made, bundled = out / ".market", out / ".source"
    for folder in (made, bundled):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        if source is None:
            write_sample_market(bundled)
        begin = np.busday_offset(np.datetime64(first, "D"), -LEAD_SESSIONS, roll="forward")
        sessions = int(np.busday_count(begin, np.datetime64(last, "D") + 1))
        first_day = dt.date.fromisoformat(str(begin))
        write_generated_market(
            source or bundled, int(text), made, sessions=sessions, first_day=first_day,
            symbols=names,
        )  # fmt: skip
        yield made
    finally:
        for folder in (made, bundled):
            shutil.rmtree(folder, ignore_errors=True)


def block_of(sessions: int) -> int:
    """Clients of a block for a window of so many sessions."""
    return min(BLOCK, max(BLOCK_SESSIONS // sessions // GROUP_BLOCK, 1) * GROUP_BLOCK)


def run_book(
    panel: PricePanel,
    rules: MarginRules,
    market: Path,
    out: Path,
    *,
    clients: int,
    seed: int,
    first: dt.date,
    last: dt.date,
    impact: float = 0.0,
    behaviour: float = 1.0,
    threads: int | None = None,
    block: int | None = None,
    stages: Stages = lambda stage, done, total: None,
) -> BookRun:
    """Simulate a book and write its lake; memory is that of the market and one block of clients.

    With ``impact`` above 0 the whole book lives twice: once session by session, moving the prices
    by its forced sales, then block by block on the moved prices.

    Raises
    ------
    InputError
        If a number is out of range or the market and the rules do not fit.
    """
    check_clients(clients)
    if not 0.0 <= behaviour <= 10.0:
        raise InputError(f"--behaviour is {behaviour}; it must be from 0 to 10")
    strengths = STRENGTHS[panel.currency].times(behaviour)
    stage = set_stage(panel, rules, seed, first, last, strengths)
    compile_engine(stage)
    started = time.perf_counter()
    source = f"lab seed {seed}, {clients} clients"
    source += "" if behaviour == 1.0 else f", behaviour {behaviour:g}"
    moved = False
    if impact > 0.0:
        stage, felt = feel_impact(
            stage, clients, strength=impact, threads=threads,
            progress=lambda done, total: stages("impact", done, total),
        )  # fmt: skip
        moved = bool((felt.factor_e6 != RATIO_ONE).any())
        source += f", impact {impact:g}"
    buckets = buckets_for(clients)
    writer = LakeWriter(
        stage.panel, market, out, buckets=buckets, source=source,
        moved=(stage.first, stage.last) if moved else None,
    )  # fmt: skip
    lived, engine, size = 0, 0.0, block or block_of(stage.sessions)
    try:
        for low in range(0, clients, size):
            book = simulate_block(
                stage, low, min(low + size, clients), threads,
                progress=lambda done, _: stages("simulate", done, clients),
            )  # fmt: skip
            lived, engine = lived + book.client_sessions, engine + book.engine_seconds
            writer.add(book, threads)
            del book  # before the next block takes its room
        rows = writer.finish()
    except BaseException:
        writer.abandon()
        raise
    spent = time.perf_counter() - started
    stages("calibrate", 0, 1)
    looked = max(min(round(buckets * CALIBRATED_SESSIONS / lived), buckets), 1)
    days = panel.sessions.astype("datetime64[D]")
    calibration = calibrate(
        out, panel.currency, days[stage.first].item(), days[stage.last].item(), threads, looked
    )
    stages("calibrate", 1, 1)
    return BookRun(
        clients=clients,
        sessions=stage.sessions,
        client_sessions=lived,
        engine_seconds=engine,
        seconds=spent,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        calibration=calibration,
        calibrated_share=looked / buckets,
        flags=lake_info(out).flags,
        rows=rows,
        out=out,
    )
