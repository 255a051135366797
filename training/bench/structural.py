"""``bench structural``: structural limits of clients from raw positions, how fast and how sure."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.importers import write_sample_market
from data_contracts.units import NULL, IntArray
from features.panel import PricePanel, load_panel
from models.margin.scenarios import ScenarioSource
from models.margin.structural import (
    LEVERAGE_GRID,
    limit_at,
    structural_risk,
    weights_of_positions,
)

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
CLIENTS: Final = 10_000
MOST_NAMES: Final = 15
BUDGET: Final = 0.05
AT: Final = 1.8
ROUNDS: Final = 3


def positions_of(
    panel: PricePanel, t: int, clients: int, seed: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Flat positions of made-up books of 1 to 15 names: book, symbol, value in minor units."""
    rng = np.random.default_rng(seed)
    listed = np.flatnonzero((panel.close[t] != NULL) & (panel.close[t] > 0))
    count = rng.integers(1, min(MOST_NAMES, len(listed)) + 1, clients)
    order = np.argsort(rng.random((clients, len(listed))), axis=1)[:, :MOST_NAMES]
    kept = np.arange(order.shape[1])[None, :] < count[:, None]
    book, place = np.nonzero(kept)
    symbol = listed[order[book, place]]
    lots = rng.integers(1, 60, len(book)) * 100
    return book, symbol, lots * panel.close[t, symbol] // 100


def structural_speed(
    panel: PricePanel, clients: int, seed: int, threads: int, stages: Stages
) -> dict[str, Any]:
    """Clients a second on so many threads, from raw positions to limits; the best of three rounds."""
    t = len(panel.sessions) - 1
    source = ScenarioSource(panel)
    began = time.perf_counter()
    scenarios = source.at(t, seed=seed)
    built = time.perf_counter() - began
    book, symbol, value = positions_of(panel, t, clients, seed)
    structural_risk(scenarios, symbol[:1, None], np.ones((1, 1)))  # compile
    best = np.inf
    for k in range(ROUNDS):
        began = time.perf_counter()
        names, share = weights_of_positions(book, symbol, value, clients)
        risk = structural_risk(scenarios, names, share, threads=threads)
        limit = limit_at(risk.blended, BUDGET, LEVERAGE_GRID)
        best = min(best, time.perf_counter() - began)
        stages("structural", k + 1, ROUNDS)
    at = int(np.argmin(np.abs(LEVERAGE_GRID - AT)))
    some = risk.forced[:, at] > 0
    relative = risk.forced_se[some, at] / risk.forced[some, at]
    return {
        "clients": clients,
        "names": len(scenarios.names),
        "paths": scenarios.value.shape[2],
        "sessions": scenarios.value.shape[1],
        "threads": threads,
        "structural_clients_per_second": round(clients / best),
        "scenario_set_seconds": round(built, 2),
        "effective_paths": round(scenarios.effective_paths, 1),
        "leverage": AT,
        "mean_forced": round(float(risk.forced[:, at].mean()), 6),
        "mean_standard_error": round(float(risk.forced_se[:, at].mean()), 6),
        "median_relative_error": round(float(np.median(relative)), 4) if some.any() else None,
        "mean_limit": round(float(limit.mean()), 4),
    }


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench structural``."""
    clients = arguments.clients or CLIENTS
    if arguments.market is not None:
        panel = load_panel(arguments.market)
    else:
        with tempfile.TemporaryDirectory() as made:
            write_sample_market(Path(made) / "market")
            panel = load_panel(Path(made) / "market")
    found = structural_speed(panel, clients, arguments.seed, arguments.threads or 2, stages)
    error = found["median_relative_error"]
    text = (
        f"{found['structural_clients_per_second']:,} clients a second on {found['threads']} threads"
        f" from raw positions, {found['paths']} paths of {found['sessions']} sessions"
        f" ({found['effective_paths']:g} effective);\nat {AT:g} times a chance of a forced sale of"
        f" {found['mean_forced']:.3%} +- {found['mean_standard_error']:.3%} in the mean"
        + (f", relative error {error:.0%} in the median" if error is not None else "")
        + f";\nthe scenario set of {found['names']:,} names took {found['scenario_set_seconds']:g} s"
    )
    return 0, found, text
