"""``bench structural``: structural limits of clients from raw positions, how fast and how sure."""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.importers import write_sample_market
from data_contracts.units import NULL, RATIO_ONE, IntArray
from features.panel import PricePanel, load_panel
from models.margin.book import LOAN_WIDTH, BookColumns, flat_columns
from models.margin.limits import book_limits
from models.margin.paths import BASE_TIER, CHANCE, LEAST_SESSIONS, PathRisk, path_risk, walked
from models.margin.scenarios import ScenarioSource
from models.margin.security import FirmTerms, MarketHistory
from models.margin.structural import (
    LEVERAGE_GRID,
    limit_at,
    structural_risk,
    weights_of_positions,
)
from models.policy import load_pack
from models.price.capital import capital_columns, path_losses
from models.price.rate import loss_given_default

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
CLIENTS: Final = 10_000
MOST_NAMES: Final = 15
BUDGET: Final = 0.05
AT: Final = 1.8
ROUNDS: Final = 3
PD_OF_BENCH: Final = 10**7
PARTS: Final = 8
"""Pieces a thread, as a night has buckets."""
LARGE: Final = 10**14


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


def _best(pool: ThreadPoolExecutor, work: Callable[[int], object], parts: int) -> float:
    """Seconds of the best of some rounds over all parts."""
    best = np.inf
    for _ in range(ROUNDS):
        began = time.perf_counter()
        list(pool.map(work, range(parts)))
        best = min(best, time.perf_counter() - began)
    return float(best)


def decide_speed(
    panel: PricePanel, clients: int, seed: int, threads: int, stages: Stages
) -> dict[str, Any]:
    """The same of what ``decide`` calls: the published set in integers, the pack's paths and lines."""
    t = len(panel.sessions) - 1
    pack = load_pack("us" if panel.currency == "USD" else "cn")
    day: dt.date = panel.sessions[t].astype("datetime64[D]").item()
    policy = pack.on(day + dt.timedelta(days=1))
    history = MarketHistory(panel)
    began = time.perf_counter()
    paths = history.paths(t, policy)
    if paths is None:
        raise InputError(
            f"{LEAST_SESSIONS} sessions of prices draw a scenario set, the market has {t + 1}"
        )
    walked(paths)
    built = time.perf_counter() - began
    market = history.snapshot(t, policy, FirmTerms(LARGE, LARGE, 0), None)
    book, symbol, _ = positions_of(panel, t, clients, seed)
    lots = np.random.default_rng(seed + 1).integers(1, 60, len(book)) * 100
    each = -(-clients // (threads * PARTS))
    edges = np.searchsorted(book, np.arange(0, clients + each, each))

    def books_of(k: int) -> BookColumns:
        rows = slice(edges[k], edges[k + 1])
        count = min(each, clients - k * each)
        held = np.stack([book[rows] - k * each, symbol[rows], lots[rows]], axis=1)
        return flat_columns(
            np.zeros(count, dtype=np.int64), held, np.zeros((0, LOAN_WIDTH), np.int64), market
        )

    def part(k: int) -> PathRisk:
        risk = path_risk(books_of(k), market, policy)
        risk.at(None, policy)
        return risk

    part(0)  # compile
    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        for k in range(ROUNDS):
            began = time.perf_counter()
            found = list(pool.map(part, range(len(edges) - 1)))
            best = min(best, time.perf_counter() - began)
            stages("decide", k + 1, ROUNDS)
        # what capital adds to that: on the same books, limits and losses known
        known = []
        for k, risk in enumerate(found):
            books = books_of(k)
            limits = book_limits(books, market, policy, paths=risk)
            lgd = loss_given_default(limits.portfolio_gap, policy)
            pd = np.full(books.n, PD_OF_BENCH)
            known.append((books, limits, pd, lgd))
        ones = [np.ones(b.n, dtype=np.int64) for b, *_ in known]

        def decided(k: int) -> object:
            return capital_columns(*known[k], market, policy)

        def summed(k: int) -> object:
            return path_losses(*known[k], ones[k], known[k][0].debt, market, policy)

        decided(0), summed(0)  # compile
        charged = _best(pool, decided, len(known))
        stages("capital", 1, 2)
        followed = _best(pool, summed, len(known))
        stages("capital", 2, 2)
    margin, chance, error = (
        np.concatenate([getattr(f.at(None, policy), name) for f in found])
        for name in ("margin", "chance", "error")
    )
    return {
        "decide_clients_per_second": round(clients / best),
        "capital_clients_per_second": round(clients / charged),
        "capital_share_of_paths": round(charged / best, 3),
        "firm_tail_share_of_paths": round(followed / best, 3),
        "decide_paths": paths.paths,
        "decide_sessions": paths.sessions,
        "decide_budget": policy.vector(CHANCE)[BASE_TIER - 1] / RATIO_ONE,
        "decide_set_seconds": round(built, 2),
        "decide_mean_chance": round(float(chance.mean()) / RATIO_ONE, 6),
        "decide_mean_standard_error": round(float(error.mean()) / RATIO_ONE, 6),
        "decide_median_margin": round(float(np.median(margin)) / RATIO_ONE, 4),
        "decide_median_leverage": round(float(RATIO_ONE / np.median(margin)), 4),
    }


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
    threads = arguments.threads or 2
    found = structural_speed(panel, clients, arguments.seed, threads, stages)
    found |= decide_speed(panel, clients, arguments.seed, threads, stages)
    error = found["median_relative_error"]
    text = (
        f"{found['structural_clients_per_second']:,} clients a second on {found['threads']} threads"
        f" from raw positions, {found['paths']} paths of {found['sessions']} sessions"
        f" ({found['effective_paths']:g} effective);\nat {AT:g} times a chance of a forced sale of"
        f" {found['mean_forced']:.3%} +- {found['mean_standard_error']:.3%} in the mean"
        + (f", relative error {error:.0%} in the median" if error is not None else "")
        + f";\nthe scenario set of {found['names']:,} names took {found['scenario_set_seconds']:g} s"
    )
    text += (
        f"\nin decide: {found['decide_clients_per_second']:,} clients a second on"
        f" {found['threads']} threads from raw positions, {found['decide_paths']} paths of"
        f" {found['decide_sessions']} sessions;\nlimits (median {found['decide_median_leverage']:g}"
        f" times) at a chance of {found['decide_mean_chance']:.3%} +-"
        f" {found['decide_mean_standard_error']:.3%} in the mean;\ncapital on the tail takes"
        f" {found['capital_share_of_paths']:.0%} of that time again, the firm's losses on all paths"
        f" {found['firm_tail_share_of_paths']:.0%}"
    )
    return 0, found, text
