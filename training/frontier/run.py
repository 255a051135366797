"""The comparison from beginning to end, in pieces that are kept and taken up again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray
from features.panel import PricePanel
from models.margin.scenarios import HORIZON_SESSIONS, PATHS, ScenarioSource
from training.frontier.compare import (
    Families,
    change,
    limits_of,
    lives,
    measures,
    rounded,
)
from training.frontier.policies import HEADED, MOST, OURS, POLICIES, RULES
from training.frontier.tables import against, frozen_rows, joined, losses, together, vintage_rows
from training.frontier.teaching import Learnt, Lesson, families_of, learn, lesson
from training.frontier.vintage import Openings, Scene, half_of, openings_of, scene
from training.frontier.windows import (
    EARLIER,
    FROZEN_UNTIL,
    TERM_SESSIONS,
    WINDOWS,
    Window,
    before,
    year_rises,
)
from training.lab.openings import FIGURES, Fates

LEVELS: Final = (1.8, 1.6, 2.0, 1.4)
"""In the order they are run in: the frontier of the static rule needs all, ours is read at 1.8."""
HALVES: Final = 4
FORM: Final = 2
"""Raised when rules or lives change: finished pieces of an older form are not taken up."""
TAUGHT_PANEL: Final = "taught"
ALL_LEVELS: Final = ("static", "structural", "learned", "broker")
"""Rules that are run at every level; the others at the first."""
ORDER: Final = tuple(WINDOWS[k].name for k in (2, 0, 1))
"""Windows in the order of what they have to show."""
CRASHES: Final = tuple(w.name for w in WINDOWS[:2])
Stages = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """What is compared on how much.

    Attributes
    ----------
    clients : of a panel and window
    taught : clients a month of the windows that teach (of 2007..2014H1 a quarter)
    half_clients : of a panel whose people choose from half of the names
    behaviour : strength of behaviour; 1 as fitted
    to_the_limit : everybody wants the most leverage there is
    """

    clients: int = 80_000
    panels: int = 2
    halves: int = HALVES
    half_clients: int = 20_000
    taught: int = 800
    seed: int = 1
    behaviour: float = 1.0
    to_the_limit: bool = False
    levels: tuple[float, ...] = LEVELS
    policies: tuple[str, ...] = POLICIES
    windows: tuple[str, ...] = tuple(w.name for w in WINDOWS)

    def plan(self) -> list[tuple[str, float]]:
        """Rules and levels, what matters most first."""
        first = self.levels[0]
        wanted = [("static", level) for level in self.levels]
        wanted += [(policy, level) for policy in ALL_LEVELS for level in self.levels[:2]]
        wanted += [(policy, first) for policy in self.policies]
        wanted += [(policy, level) for policy in ALL_LEVELS for level in self.levels]
        known = [pair for pair in dict.fromkeys(wanted) if pair[0] in self.policies]
        return known

    def key(self) -> str:
        """A folder name for what depends on people and prices alone."""
        return f"seed{self.seed}-behaviour{self.behaviour:g}" + ("-limit" * self.to_the_limit)


@dataclass
class Bench:
    """One run; ``deadline`` in seconds from the start ends it between two pieces."""

    panel: PricePanel
    settings: Settings
    out: Path
    threads: int | None
    stages: Stages
    deadline: float | None = None
    started: float = field(default_factory=time.perf_counter)
    unfinished: list[str] = field(default_factory=list)
    kept: dict[str, dict[tuple[str, float], Fates]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = ScenarioSource(self.panel)
        self._lessons: dict[str, Lesson] = {}
        self._learnt: dict[str, Learnt] = {}
        self.windows = tuple(w for w in WINDOWS if w.name in self.settings.windows)
        if not self.windows:
            names = ", ".join(w.name for w in WINDOWS)
            raise InputError(f"no window of {', '.join(self.settings.windows)}; there are {names}")

    def kept_value(self, name: str, compute: Callable[[], list[float]]) -> list[float]:
        """What a name stands for, from disk if it was computed before."""
        place = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
        path = self.out / self.settings.key() / "tuning" / f"v{FORM}-{place}.json"
        if not path.exists():
            found = compute()
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.rename(path)
        values: list[float] = json.loads(path.read_text())
        return values

    def late(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.perf_counter() - self.started > self.deadline

    def place(self, window: Window, panel: str) -> Scene:
        """The scene of a window for one panel of people."""
        s = self.settings
        offset = {TAUGHT_PANEL: 1000}.get(panel, 0)
        if panel.startswith("panel"):
            offset = 10 + int(panel[5:])
        market = self.panel
        if panel.startswith("half"):
            offset = 100 + int(panel[4:])
            market = half_of(self.panel, int(panel[4:]), s.seed)
        return scene(market, window, s.seed * 10_000 + offset, s.behaviour)

    def rises(self, place: Scene) -> FloatArray:
        """The whole market's rise in the year before each month of a window."""
        return year_rises(self.source.market, place.months)

    def book(self, place: Scene, panel: str, clients: int) -> Openings | None:
        """The clients of a panel, month by month, kept on disk; None when the time is up."""
        folder = self.out / self.settings.key() / panel / place.window.name
        monthly = -(-clients // len(place.months))
        parts = []
        for k, month in enumerate(place.months):
            path = folder / f"openings-v{FORM}-{monthly}-{month.month}.npz"
            if not path.exists():
                if self.late():
                    self.unfinished.append(f"{panel} {place.window.name}: openings")
                    return None
                openings_of(self.panel, self.source, place, k, monthly, place.stage.seed).save(path)
            self.stages(f"{panel} {place.window.name} openings", k + 1, len(place.months))
            parts.append(Openings.load(path))
        book = Openings.joined(parts)
        ends = np.minimum(book.opens + TERM_SESSIONS, place.stage.sessions)
        book = replace(book, ends=ends)
        if self.settings.to_the_limit:
            book = replace(book, desired=np.full(len(book.desired), MOST))
        return book

    def learnt(self, window: Window) -> Learnt | None:
        """What the windows before teach."""
        if window.name in self._learnt:
            return self._learnt[window.name]
        lessons = []
        for earlier in before(window):
            if earlier.name not in self._lessons:
                place = self.place(earlier, TAUGHT_PANEL)
                months = len(place.months)
                each = self.settings.taught // (4 if earlier is EARLIER else 1)
                book = self.book(place, TAUGHT_PANEL, each * months)
                if book is None:
                    return None
                self._lessons[earlier.name] = lesson(
                    place, book, self.rises(place), place.stage.seed, self.threads
                )
            lessons.append(self._lessons[earlier.name])
        heads = tuple(h for h in HEADED if h in self.settings.policies)
        self._learnt[window.name] = learn(
            lessons, self.settings.seed, self.threads,
            lambda text: self.stages(f"before {window.name}: {text}", 0, 1), heads, self.kept_value,
        )  # fmt: skip
        return self._learnt[window.name]

    def fates(
        self,
        place: Scene,
        book: Openings,
        panel: str,
        families: Families,
        policy: str,
        level: float,
        frozen_months: Sequence[int] = (),
    ) -> Fates | None:
        """One run of lives, kept on disk; None when the time is up.

        With ``frozen_months`` the rule's scale is the mean of those months' throughout.
        """
        s = self.settings
        folder = self.out / s.key() / panel / place.window.name
        form = f"-r{RULES}" if policy in OURS else ""
        label = f"{policy}{form}-{level:g}" + ("-frozen" if frozen_months else "")
        path = folder / f"fates-v{FORM}-{TERM_SESSIONS}-{len(book.number)}-{s.taught}-{label}.npy"
        if path.exists():
            found = np.load(path)
            if found.shape == (len(book.number), FIGURES):
                return Fates(found)
        if self.late():
            self.unfinished.append(f"{panel} {place.window.name}: {label}")
            return None
        limits = limits_of(book, families, policy, level)
        if frozen_months:
            mean = float(np.nanmean(limits.scale[list(frozen_months)]))
            limits = limits_of(book, families, policy, level, mean)
        fates = lives(place, book, limits.limit, self.threads)
        part = path.with_suffix(".part.npy")
        np.save(part, fates.figures)
        part.rename(path)
        return fates


def compare_window(bench: Bench, window: Window) -> dict[str, Any] | None:
    """All rules, levels, panels and halves of one window."""
    s = bench.settings
    learnt = bench.learnt(window)
    if learnt is None:
        return None
    runs: dict[tuple[str, float], list[Fates]] = {}
    books: list[Openings] = []
    frozen: dict[str, list[Fates]] = {}
    total = s.panels * len(s.plan())
    done = 0
    for k in range(s.panels):
        name = f"panel{k}"
        place = bench.place(window, name)
        book = bench.book(place, name, s.clients)
        if book is None:
            break
        books.append(book)
        families = families_of(book, learnt, bench.rises(place))
        for policy, level in s.plan():
            fates = bench.fates(place, book, name, families, policy, level)
            done += 1
            bench.stages(f"{window.name} lives", done, total)
            if fates is not None:
                runs.setdefault((policy, level), []).append(fates)
        if window.first <= FROZEN_UNTIL:
            early = [m for m, v in enumerate(place.months) if v.month <= str(FROZEN_UNTIL)[:7]]
            for policy in s.policies:
                fates = bench.fates(place, book, name, families, policy, s.levels[0], early)
                if fates is not None:
                    frozen.setdefault(policy, []).append(fates)
    if not books:
        return None
    whole = {key: joined(v) for key, v in runs.items() if len(v) == len(books)}
    bench.kept[window.name] = whole
    static, broker = (
        {lv: whole[rule, lv] for lv in s.levels if (rule, lv) in whole}
        for rule in ("static", "broker")
    )
    halves = _halves(bench, window, learnt)
    rows = []
    for level in sorted(s.levels):
        for policy in s.policies:
            if (policy, level) not in whole:
                continue
            fates = whole[policy, level]
            found = measures(fates)
            compared = against(fates, static, broker, s.seed)
            spread = halves.get((policy, level), [])
            rows.append(
                {
                    "level": level, "window": window.name, "policy": policy,
                    **{k: rounded(v) for k, v in found.items()},
                    **compared,
                    "halves": [rounded(x) for x in spread],
                    **losses(fates, static.get(level), s.seed),
                    "comparable": compared["change_vs_static"] is not None,
                }
            )  # fmt: skip
    return {
        "rows": rows,
        "learnt": learnt.report,
        "frozen": frozen_rows(window, frozen, len(books)),
        "vintages": vintage_rows(window, books, whole, static, s.policies, s.levels[0], s.seed),
    }


def _halves(
    bench: Bench, window: Window, learnt: Learnt
) -> dict[tuple[str, float], list[float | None]]:
    """Changes where people choose from a random half of the names."""
    s = bench.settings
    found: dict[tuple[str, float], list[float | None]] = {}
    ours = [p for p in ("structural", "learned") if p in s.policies]
    for k in range(s.halves):
        name = f"half{k}"
        if bench.late() and not (bench.out / s.key() / name / window.name).exists():
            bench.unfinished.append(f"{name} {window.name}")
            continue
        place = bench.place(window, name)
        book = bench.book(place, name, s.half_clients)
        if book is None:
            continue
        families = families_of(book, learnt, bench.rises(place))

        static = {lv: bench.fates(place, book, name, families, "static", lv) for lv in s.levels}
        given = {lv: f for lv, f in static.items() if f is not None}
        if len(given) < 2:
            continue
        for policy in ours:
            for level in (1.8, 1.6):
                if level not in s.levels:
                    continue
                fates = bench.fates(place, book, name, families, policy, level)
                if fates is not None:
                    value = change(fates, given, s.seed, resamples=0).value
                    found.setdefault((policy, level), []).append(value)
        bench.stages(f"{window.name} halves of the names", k + 1, s.halves)
    return found


def frontier(bench: Bench) -> dict[str, Any]:
    """The document of ``bench frontier``, without procyclicality."""
    s = bench.settings
    levels: list[dict[str, Any]] = []
    taught: dict[str, Any] = {}
    frozen: list[dict[str, Any]] = []
    vintages: list[dict[str, Any]] = []
    for window in sorted(bench.windows, key=lambda w: ORDER.index(w.name)):
        found = compare_window(bench, window)
        if found is None:
            continue
        levels += found["rows"]
        taught[window.name] = found["learnt"]
        frozen += found["frozen"]
        vintages += found["vintages"]
    return {
        "levels": levels,
        "together": together(bench.kept, CRASHES, s.policies, s.levels, s.seed),
        "frozen_scale": frozen,
        "vintages": vintages,
        "trained_on": taught,
        "settings": {
            **json.loads(json.dumps(asdict(s))), "paths": PATHS, "horizon": HORIZON_SESSIONS,
        },
        "unfinished": bench.unfinished,
        "seconds": round(time.perf_counter() - bench.started, 1),
    }  # fmt: skip
