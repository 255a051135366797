"""``bench frontier``: who is sold by force under each rule of lending, at the same credit."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from features.panel import load_panel
from models.margin.scenarios import ScenarioSource
from models.margin.structural import STRESS_SHARE
from training.frontier.cycles import compare
from training.frontier.run import Bench, Settings, frontier
from training.frontier.windows import WINDOWS

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1
OUT: Final = Path("out/frontier")
MINUTES: Final = 10.0
LEAST_CLIENTS: Final = 80_000
"""Fewer clients a panel are a trial run, and are called that."""
LEAST_PANELS: Final = 2
CYCLES_SHARE: Final = 0.15
"""Of the time, what is kept for procyclicality."""


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench frontier``.

    Raises
    ------
    InputError
        Without a Chinese market of the windows, or with a number out of range.
    """
    if arguments.market is None:
        raise InputError(
            "bench frontier needs --market DIR with A-shares of 2006 to 2019, made by `gearline market"
            " import FILE... --format ashare-daily --out DIR`; no prices come with the project"
        )
    clients = arguments.clients or LEAST_CLIENTS
    if clients < 400:
        raise InputError(f"--clients is {clients}; a panel needs at least 400 to compare anything")
    panels = LEAST_PANELS if arguments.panels is None else arguments.panels
    if panels < 1:
        raise InputError(f"--panels is {panels}; at least 1 is needed, {LEAST_PANELS} are usual")
    minutes = MINUTES if arguments.minutes is None else arguments.minutes
    if minutes <= 0:
        raise InputError(f"--minutes is {minutes:g}; it must be above 0")
    panel = load_panel(arguments.market)
    if panel.currency != "CNY":
        raise InputError(
            f"bench frontier compares A-share lenders; {arguments.market} is in {panel.currency}"
        )
    scale = clients / LEAST_CLIENTS
    settings = Settings(
        clients=clients,
        panels=panels,
        half_clients=max(round(20_000 * scale), 200),
        taught=max(round(800 * min(scale, 1.0)), 40),
        seed=arguments.seed,
        behaviour=1.0 if arguments.behaviour is None else arguments.behaviour,
        to_the_limit=arguments.to_the_limit,
        windows=tuple(arguments.window or (w.name for w in WINDOWS)),
    )
    bench = Bench(
        panel, settings, arguments.out or OUT, arguments.threads, stages,
        deadline=minutes * 60 * (1.0 - CYCLES_SHARE),
    )  # fmt: skip
    document = frontier(bench)
    document["procyclicality"] = cycles(bench, document, stages)
    document["targets"] = targets(document)
    document["unfinished"] = bench.unfinished
    return (FOUND if bench.unfinished else DONE), document, _text(document, bench.out)


def cycles(bench: Bench, document: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """Procyclicality of each window, kept on disk."""
    import orjson

    out: dict[str, Any] = {}
    source: ScenarioSource = bench.source
    for window in bench.windows:
        taught = document["trained_on"].get(window.name, {"stress": STRESS_SHARE})
        stress = float(taught["stress"])
        path = bench.out / f"cycles-{bench.settings.seed}-{stress:g}-{window.name}.json"
        if not path.exists():
            found = compare(bench.panel, source, window, bench.settings.seed, stress, stages)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(orjson.dumps(found))
        out[window.name] = orjson.loads(path.read_bytes())
    return out


def _row(document: dict[str, Any], policy: str, level: float, window: str) -> dict[str, Any]:
    for row in document["levels"]:
        if (row["policy"], row["level"], row["window"]) == (policy, level, window):
            return dict(row)
    return {}


def targets(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What was promised, what came, and whether it holds; None where it was not measured."""
    calm, crash, year = "2017..2019", "2015-04..07", "2016"
    out: list[dict[str, Any]] = []

    def add(name: str, value: Any, bound: float, ok: bool | None) -> None:
        out.append({"target": name, "value": value, "bound": bound, "met": ok})

    def at_most(name: str, value: float | None, bound: float) -> None:
        add(name, value, bound, None if value is None else value <= bound)

    s = _row(document, "structural", 1.8, calm)
    at_most("structural, 1.8, 2017..2019: change", s.get("change_vs_static"), -0.05)
    at_most("structural, 1.8, 2017..2019: upper end", s.get("high"), 0.0)
    c = _row(document, "structural", 1.8, crash)
    at_most("structural, 1.8, 2015-04..07: upper end", c.get("high"), 0.05)
    h = _row(document, "learned", 1.8, calm)
    at_most("learned, 1.8, 2017..2019: change", h.get("change_vs_static"), -0.15)
    together = document.get("together", {}).get("learned", {})
    at_most("learned, 1.8, 2015-04..07 and 2016: change", together.get("change_vs_static"), -0.03)
    at_most("learned, 1.8, 2015-04..07 and 2016: upper end", together.get("high"), 0.05)
    for policy in ("structural", "learned"):
        for window in (crash, year):
            g = _row(document, policy, 1.6, window)
            at_most(
                f"crash guard: {policy}, 1.6, {window}: change", g.get("change_vs_static"), 0.10
            )
    for window, found in document["procyclicality"].items():
        ratio = found["ratio_to_var"]
        at_most(f"procyclicality {window}: 20-session rise over VaR's", ratio["rise_20"], 0.35)
        at_most(
            f"procyclicality {window}: peak over trough, less 1", ratio["peak_over_trough"], 0.30
        )
        at_most(
            f"procyclicality {window}: 95th percentile account", ratio["account_rise_20_p95"], 0.40
        )
    return out


def _percent(value: float | None) -> str:
    return "      -" if value is None else f"{value:+7.1%}"


def _text(document: dict[str, Any], out: Path) -> str:
    s = document["settings"]
    lines = [
        f"{s['panels']} panels of {s['clients']:,} simulated clients a window on real prices;"
        " change in accounts with a forced sale",
        "against the best static rule (tuned before each window) at the same loan-days, 95 % client"
        " bootstrap, range over halves of the names",
    ]
    if s["clients"] < LEAST_CLIENTS or s["panels"] < LEAST_PANELS:
        lines.append("! a trial run: fewer than two panels of 80,000 clients")
    for window, taught in document["trained_on"].items():
        lines.append(
            f"{window}: learnt from {', '.join(taught['windows'])} ({taught['clients']:,} clients,"
            f" {taught['forced_sales']:,} forced sales)"
        )
    lines.append(
        f"  {'window':<12}{'level':>6} {'policy':<11}{'forced':>8}{'change':>9}{'low':>8}{'high':>8}"
        f"{'halves':>17}{'matrix':>9}{'calls':>8}{'loss bp':>9}{'used':>6}"
    )
    for row in document["levels"]:
        spread = [x for x in row["halves"] if x is not None]
        halves = f"{min(spread):+.1%}..{max(spread):+.1%}" if spread else "-"
        lines.append(
            f"  {row['window']:<12}{row['level']:>6.1f} {row['policy']:<11}{row['forced_rate']:>8.3%}"
            f"  {_percent(row['change_vs_static'])} {_percent(row['low'])} {_percent(row['high'])}"
            f"{halves:>17}  {_percent(row['change_vs_broker'])}{row['call_rate']:>8.2%}{row['shortfall_bp']:>9.2f}{row['used_leverage']:>6.2f}"
        )
    for target in document["targets"]:
        mark = {True: "met", False: "MISSED", None: "not measured"}[target["met"]]
        value = "-" if target["value"] is None else f"{target['value']:+.3f}"
        lines.append(f"  {mark:<13}{value:>8} (at most {target['bound']:+.2f})  {target['target']}")
    if document["unfinished"]:
        lines.append(
            f"{len(document['unfinished'])} pieces are left: run the same command again, it goes on"
            f" from {out}"
        )
    return "\n".join(lines)
