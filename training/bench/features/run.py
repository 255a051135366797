"""The whole benchmark: makes the lake, then runs each rival in a process of its own, in turn."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from training.bench.features.made_lake import SESSIONS, make_lake, weekdays

Stages = Callable[[str, int, int], None]
RIVALS: Final = Path(__file__).parents[3] / "bench" / "features_pandas.py"
ROOT: Final = Path(__file__).parents[3]
TRADES: Final = 5_000_000
CLIENTS: Final = 50_000
GROWTH_CLIENTS: Final = (50_000, 1_000_000)
GROWTH_TRADES_A_CLIENT: Final = 4
"""Few, so that a million clients fit in the time; the same at both sizes."""
TRADES_A_MINUTE: Final = 600_000
"""What one minute pays for, with pandas and Polars in the run."""


def _child(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{' '.join(command[:3])} failed: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _work(name: str, lake: Path, threads: int) -> dict[str, Any]:
    return _child(["-m", "training.bench.features.work", name, str(lake), str(threads)])


def bench_features(
    trades: int | None,
    clients: int | None,
    minutes: float | None,
    threads: int,
    seed: int,
    stages: Stages,
) -> dict[str, Any]:
    """Full and nightly build against pandas, Polars and a scan-and-group of the same files.

    Wall seconds make the ratios; processor seconds stand beside them, because another process on
    the machine slows each in turn. Ours is the median of three runs, the rivals run once.
    """
    trades = trades or (TRADES if minutes is None else int(minutes * TRADES_A_MINUTE))
    clients = clients or max(4, trades // 100)
    if trades < 10_000 or clients < 4 or clients > trades:
        raise InputError(
            f"bench features needs at least 10000 trades and 4 clients, not more clients than"
            f" trades; not {trades} and {clients}"
        )
    session = str(weekdays(SESSIONS)[-1])
    runs: dict[str, list[dict[str, Any]]] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gearline-bench-") as folder:
        lake = Path(folder) / "lake"
        made = make_lake(lake, trades, clients, seed, lambda d, n: stages("make", d, n))
        _work("full", lake, threads)  # compiles, and brings the files into memory
        order = ["full", "floor", "state", "nightly", "full", "floor", "nightly", "full", "floor"]
        order += ["nightly"]
        for k, name in enumerate(order):
            runs.setdefault(name, []).append(_work(name, lake, threads))
            stages("measure", k + 1, len(order))
        for name, option in (("pandas", []), ("polars", ["--polars"])):
            if find_spec(name) is not None and RIVALS.is_file():
                stages(name, 0, 1)
                runs[name] = [_child([str(RIVALS), str(lake), session, *option])]
                stages(name, 1, 1)
        best = {name: _median(found) for name, found in runs.items()}
        growth = _growth(Path(folder), threads, seed, stages)
    full, night = best["full"], best["nightly"]
    seconds = {name: round(found["seconds"], 3) for name, found in best.items()}
    rivals = {
        f"ratio_to_{name}": round(best[name]["seconds"] / full["seconds"], 2)
        if name in best
        else None
        for name in ("pandas", "polars")
    }
    return {
        "trades": made.trades,
        "clients": made.clients,
        "threads": threads,
        **rivals,
        "ratio_to_floor": round(full["seconds"] / best["floor"]["seconds"], 2),
        "incremental_ratio_to_full": round(full["seconds"] / night["seconds"], 2),
        "incremental_equals_full": full["digest"] == night["digest"],
        "rivals_agree": all(
            [best[n][k] for k in ("trades", "bought", "matched")] == full["digest"]
            for n in ("pandas", "polars")
            if n in best
        ),
        "new_rows": night["new_rows"],
        "rebuilt_clients": night["rebuilt_clients"],
        "peak_rss_mb": max(found["peak_rss_mb"] for found in runs["full"]),
        "peak_rss_mb_by": {name: found["peak_rss_mb"] for name, found in best.items()},
        "growth_exponent": growth,
        "seconds": seconds,
        "cpu_seconds": {name: round(found["cpu_seconds"], 3) for name, found in best.items()},
        "seconds_in_all": round(time.perf_counter() - started, 1),
    }


def _median(found: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(found, key=lambda one: float(one["seconds"]))[len(found) // 2]


def _growth(folder: Path, threads: int, seed: int, stages: Stages) -> float:
    """How processor time grows with the clients, as a power, at the same trades a client."""
    spent = []
    for k, clients in enumerate(GROWTH_CLIENTS):
        lake = folder / f"growth-{clients}"
        make_lake(lake, clients * GROWTH_TRADES_A_CLIENT, clients, seed)
        spent.append(min(_work("full", lake, threads)["cpu_seconds"] for _ in range(2)))
        stages("growth", k + 1, len(GROWTH_CLIENTS))
    few, many = GROWTH_CLIENTS
    return round(math.log(spent[1] / spent[0]) / math.log(many / few), 3)


def text_of(document: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{document['trades']:,} trades, {document['clients']:,} clients"]
    lines += [f"  {name:<10}{spent:>10.2f} s" for name, spent in document["seconds"].items()]
    names = ("ratio_to_pandas", "ratio_to_polars", "ratio_to_floor", "incremental_ratio_to_full")
    lines += [f"  {name}: {document[name]}" for name in (*names, "growth_exponent", "peak_rss_mb")]
    return "\n".join(lines)
