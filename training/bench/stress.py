"""``bench stress``: compiled revaluation and paths against NumPy, in one run on one book.

(a) One-step linear revaluation of accounts x scenarios, against NumPy in blocks and scipy's sparse
product, and as a share of the peak that binds: the slower of the processor's multiply-add loop on
rows in the first cache, and reading rows from where the tile of returns lies. (b) Ten-session paths
with locks, calls, deadlines and liquidation, against the same engine in vectorised NumPy.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from scipy import sparse

from data_contracts.errors import InputError
from data_contracts.units import FloatArray
from training.stress import kernel
from training.stress.book import StressBook, clients_who_cure
from training.stress.desk import run_path
from training.stress.kernel import Lines
from training.stress.scenario import SCENARIOS, Names, price_path
from training.stress.vectorised import walk_vectorised

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
ACCOUNTS: Final = 1_000_000
LINEAR_ACCOUNTS: Final = 20_000
NAMES: Final = 2_000
SCENARIOS_COUNT: Final = 1_024
TILE: Final = 256
REPEATS: Final = 3
MANY_REPEATS: Final = 25
"""Of what takes milliseconds: the least of many is what an undisturbed run takes."""
DEMO_CLIENTS: Final = 1_000
LINES: Final = Lines(1_300_000, 1_100_000, 1_450_000, 1, 5_000)


def made_book(accounts: int, names: int, seed: int) -> tuple[StressBook, Names]:
    """Leveraged accounts with 1 to 12 names, maintenance ratios from 1.2 to 3."""
    rng = np.random.default_rng(seed)
    price = np.rint(rng.lognormal(11.5, 0.7, names)).astype(np.int64)
    count = rng.integers(1, 13, accounts)
    pointer = np.r_[0, np.cumsum(count)].astype(np.int64)
    symbol = rng.integers(0, names, int(pointer[-1]))
    shares = 100 * rng.integers(1, 200, len(symbol))
    value = np.add.reduceat(price[symbol] * shares // 100, pointer[:-1])
    owed = (value / rng.uniform(1.2, 3.0, accounts)).astype(np.int64)
    book = StressBook(
        (), pointer, symbol, shares, np.zeros(accounts, np.int64), owed, np.arange(accounts),
        np.full(names, kernel.ONE),
    )  # fmt: skip
    return book, Names(price, rng.uniform(0.6, 1.6, names), rng.uniform(0.01, 0.03, names))


def _best(run: Callable[[], object], repeats: int = REPEATS) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _linear(book: StressBook, names: Names, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    value = names.price[book.symbol] * book.shares / 10_000
    equity = np.add.reduceat(value, book.pointer[:-1]) - book.owed / 100
    returns = np.random.default_rng([seed, 1]).normal(
        -0.05, 0.08, (len(names.price), SCENARIOS_COUNT)
    )
    tiles = [
        np.ascontiguousarray(returns[:, k : k + TILE]) for k in range(0, SCENARIOS_COUNT, TILE)
    ]
    loss, scratch = np.zeros(SCENARIOS_COUNT), np.zeros(TILE)

    def ours() -> None:
        loss[:] = 0.0
        for k, tile in enumerate(tiles):
            kernel.linear(
                0, book.clients, book.pointer, book.symbol, value, equity, tile,
                loss[k * TILE : (k + 1) * TILE], scratch,
            )  # fmt: skip

    block = 2_000

    def numpy_blocks() -> FloatArray:
        out = np.zeros(SCENARIOS_COUNT)
        for first in range(0, book.clients, block):
            last = min(first + block, book.clients)
            inside = slice(book.pointer[first], book.pointer[last])
            for k, tile in enumerate(tiles):
                moved = value[inside, None] * tile[book.symbol[inside]]
                change = np.add.reduceat(
                    moved, book.pointer[first:last] - book.pointer[first], axis=0
                )
                out[k * TILE : (k + 1) * TILE] += np.maximum(
                    -(equity[first:last, None] + change), 0
                ).sum(axis=0)
        return out

    matrix = sparse.csr_matrix(
        (value, book.symbol, book.pointer), shape=(book.clients, len(names.price))
    )

    def scipy_blocks() -> FloatArray:
        out = np.zeros(SCENARIOS_COUNT)
        for first in range(0, book.clients, block):
            part = matrix[first : first + block]
            for k, tile in enumerate(tiles):
                out[k * TILE : (k + 1) * TILE] += np.maximum(
                    -(equity[first : first + block, None] + part @ tile), 0
                ).sum(axis=0)
        return out

    ours()
    seconds = {
        "ours": _best(ours, MANY_REPEATS),
        "numpy": _best(numpy_blocks),
        "scipy": _best(scipy_blocks),
    }
    agree = float(np.abs(loss - numpy_blocks()).max() / np.abs(loss).max())
    holdings = len(book.symbol)
    hot, weight = np.ascontiguousarray(tiles[0][:16]), np.ones(len(names.price))
    times = max(1, 4_000_000 // (16 * TILE))
    kernel.multiply_add(hot, weight, 1, scratch)
    arithmetic = _best(lambda: kernel.multiply_add(hot, weight, times, scratch), MANY_REPEATS) / (
        times * 16 * TILE
    )
    kernel.read_all(tiles[0], 1, scratch)
    reads = max(1, 4_000_000 // (len(names.price) * TILE))
    bandwidth = _best(lambda: kernel.read_all(tiles[0], reads, scratch), MANY_REPEATS) / (
        reads * len(names.price) * TILE
    )
    peak = max(arithmetic, bandwidth)
    mine = seconds["ours"] / (holdings * SCENARIOS_COUNT)
    return seconds, {
        "linear_share_of_peak": peak / mine,
        "peak_kind": "multiply-add in first cache"
        if arithmetic >= bandwidth
        else "reading the tile",
        "linear_relative_difference": agree,
    }


def _zero_shock(lake: Path | None) -> bool:
    """Whether the desk's zero scenario decides what the night decides, byte for byte.

    On the lake given, else on a demo of ``DEMO_CLIENTS`` made for it: the command line is asked, for
    it alone joins the desk to the engine of every night.
    """

    def ask(*words: object) -> bytes:
        command = [sys.executable, "-m", "gearline", *map(str, words)]
        ran = subprocess.run(command, capture_output=True, check=False)
        if ran.returncode not in (0, 1):
            raise InputError(
                f"`gearline {words[0]}` ended with {ran.returncode}: {ran.stderr[-300:]!r}"
            )
        return ran.stdout

    with tempfile.TemporaryDirectory() as folder:
        if lake is None:
            lake = Path(folder) / "demo"
            ask("demo", "--clients", DEMO_CLIENTS, "--out", lake)
        answer = ask("stress", lake, "--scenario", "zero", "--draws", 10, "--json")
    return bool(orjson.loads(answer)["zero_shock_equals_production"])


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench stress``; ``--clients`` sets the accounts of the paths."""
    accounts = arguments.clients or ACCOUNTS
    if accounts < 1000:
        raise InputError(f"--clients is {accounts}; the benchmark needs at least 1000 accounts")
    stages("linear", 0, 2)
    small, names = made_book(min(LINEAR_ACCOUNTS, accounts), NAMES, arguments.seed)
    seconds, linear = _linear(small, names, arguments.seed)
    stages("linear", 1, 2)
    book, names = made_book(accounts, NAMES, arguments.seed)
    scenario = SCENARIOS["extreme"]
    path = price_path(scenario, names, arguments.seed)
    cures = clients_who_cure(accounts, 0.5, arguments.seed)
    depth = round(scenario.depth_ratio * kernel.ONE)
    warm = book.take(np.arange(10))
    run_path(warm, path, scenario.depth_ratio, LINES, cures[:10])
    ours = _best(lambda: run_path(book, path, scenario.depth_ratio, LINES, cures))
    found = run_path(book, path, scenario.depth_ratio, LINES, cures)
    started = time.perf_counter()
    totals, sold, events = walk_vectorised(book, path, depth, LINES, cures)
    theirs = time.perf_counter() - started
    equal = bool(
        np.array_equal(sold, found.sold_shares)
        and np.array_equal(events, found.events)
        and [found.called, found.forced, found.sold_amt, found.shortfall_amt]
        == [
            int(totals[k])
            for k in (kernel.CALLED, kernel.FORCED, kernel.SOLD_AMT, kernel.SHORTFALL_AMT)
        ]
    )
    stages("linear", 2, 2)
    stages("zero shock", 0, 1)
    equals = _zero_shock(arguments.data)
    stages("zero shock", 1, 1)
    document = {
        **linear,
        "linear_ratio_to_numpy": seconds["numpy"] / seconds["ours"],
        "linear_ratio_to_scipy": seconds["scipy"] / seconds["ours"],
        "path_ratio_to_numpy": theirs / ours,
        "path_equals_numpy": equal,
        "account_scenarios_per_second": round(accounts / ours),
        "zero_shock_equals_production": equals,
        "accounts": accounts,
        "sessions": scenario.sessions,
        "seconds": {
            "linear_ours": seconds["ours"],
            "linear_numpy": seconds["numpy"],
            "linear_scipy": seconds["scipy"],
            "path_ours": ours,
            "path_numpy": theirs,
        },
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    text = "\n".join(f"{k}: {v}" for k, v in document.items())
    return (0 if equal else 1), document, text
