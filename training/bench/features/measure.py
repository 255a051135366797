"""The whole benchmark: makes the lake, then runs each rival in a process of its own, in turn."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.lake import create_lake, lake_info
from features.tallies.state import FOLDER as STATE
from training.bench.features.made_lake import SESSIONS, make_lake, move_delivery, weekdays

Stages = Callable[[str, int, int], None]
RIVALS: Final = Path(__file__).parents[3] / "bench" / "features_pandas.py"
RIVAL_NAMES: Final = ("pandas", "polars")
ROOT: Final = Path(__file__).parents[3]
TRADES: Final = 5_000_000
GROWTH_CLIENTS: Final = (50_000, 1_000_000)
GROWTH_TRADES_A_CLIENT: Final = 4
"""Few, so that a million clients fit in the time; the same at both sizes."""
TRADES_A_MINUTE: Final = 600_000
"""What one minute pays for, with pandas and Polars in the run."""
ROUNDS: Final = 3
"""Ours runs so often, the rivals once, in the middle round."""
BYTES_A_TRADE: Final = {"pandas": 450, "polars": 750}
"""Memory that a rival takes at its most, rounded up; where the machine has less it gets a share."""
MEMORY_SHARE: Final = 0.8
"""Of what is free so much may be taken."""


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
    the machine slows each in turn. Ours and the floor are the median of three runs, the rivals run
    once, between ours. A rival for which the memory does not suffice gets as many whole buckets as
    fit, and is compared with ours on the same buckets.
    """
    trades = trades or (TRADES if minutes is None else int(minutes * TRADES_A_MINUTE))
    clients = clients or max(4, trades // 100)
    if trades < 10_000 or clients < 4 or clients > trades:
        raise InputError(
            f"bench features needs at least 10000 trades and 4 clients, not more clients than"
            f" trades; not {trades} and {clients}"
        )
    runs: dict[str, list[dict[str, Any]]] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gearline-bench-") as folder:
        lake = Path(folder) / "lake"
        made = make_lake(lake, trades, clients, seed, lambda d, n: stages("make", d, n))
        _work("full", lake, threads)  # compiles, and brings the files into memory
        # The state of the night before is made before the last session's files arrive.
        away = Path(folder) / "delivery"
        move_delivery(lake, away)
        runs["state"] = [_work("state", lake, threads)]
        move_delivery(away, lake)
        rivals: dict[str, dict[str, Any]] = {}
        for k in range(ROUNDS):
            for name in ("full", "floor", "nightly"):
                runs.setdefault(name, []).append(_work(name, lake, threads))
            if k == ROUNDS // 2:
                rivals = _rivals(lake, made.trades, threads, stages)
            stages("measure", k + 1, ROUNDS)
        state_mb = sum(p.stat().st_size for p in (lake / STATE).rglob("*.bin")) // 2**20
        lake_mb = sum(p.stat().st_size for p in (lake / "trades").rglob("*.parquet")) // 2**20
        shutil.rmtree(lake)
        best = {name: _median(found) for name, found in runs.items()}
        growth = _growth(Path(folder), threads, seed, stages)
    full, night = best["full"], best["nightly"]
    best |= {name: found["theirs"] for name, found in rivals.items()}
    ratios = {
        f"ratio_to_{name}": round(found["theirs"]["seconds"] / _ours(found, full)["seconds"], 2)
        for name, found in rivals.items()
    }
    return {
        "trades": made.trades,
        "clients": made.clients,
        "threads": threads,
        **{f"ratio_to_{name}": ratios.get(f"ratio_to_{name}") for name in RIVAL_NAMES},
        "ratio_to_floor": round(full["seconds"] / best["floor"]["seconds"], 2),
        "incremental_ratio_to_full": round(full["seconds"] / night["seconds"], 2),
        # What a full build costs that leaves a state too, as a night does.
        "incremental_ratio_to_full_with_state": round(
            best["state"]["seconds"] / night["seconds"], 2
        ),
        "incremental_equals_full": full["values_sha256"] == night["values_sha256"],
        "rivals_agree": all(
            [found["theirs"][k] for k in ("trades", "bought", "matched")]
            == _ours(found, full)["digest"]
            for found in rivals.values()
        ),
        "rivals_share": {name: found["share"] for name, found in rivals.items()},
        "new_rows": night["new_rows"],
        "rebuilt_clients": night["rebuilt_clients"],
        "peak_rss_mb": max(found["peak_rss_mb"] for found in runs["full"]),
        "peak_rss_mb_by": {name: found["peak_rss_mb"] for name, found in best.items()},
        "lake_mb": lake_mb,
        "state_mb": state_mb,
        "growth_exponent": growth,
        "seconds": {name: round(found["seconds"], 3) for name, found in best.items()},
        "cpu_seconds": {name: round(found["cpu_seconds"], 3) for name, found in best.items()},
        "seconds_in_all": round(time.perf_counter() - started, 1),
    }


def _ours(rival: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    """Our full build on what the rival had."""
    found: dict[str, Any] = rival["ours"] or full
    return found


def _rivals(lake: Path, trades: int, threads: int, stages: Stages) -> dict[str, dict[str, Any]]:
    """Each rival that is installed, on as much of the lake as its memory allows."""
    session = str(weekdays(SESSIONS)[-1])
    out: dict[str, dict[str, Any]] = {}
    for name in RIVAL_NAMES:
        if find_spec(name) is None or not RIVALS.is_file():
            continue
        stages(name, 0, 1)
        share, part = share_of(lake, MEMORY_SHARE * free_bytes() / (BYTES_A_TRADE[name] * trades))
        option = ["--polars"] if name == "polars" else []
        ours = None
        if part != lake:
            ours = _median([_work("full", part, threads) for _ in range(ROUNDS)])
        theirs = _child([str(RIVALS), str(part), session, *option])
        out[name] = {"share": share, "ours": ours, "theirs": theirs}
        stages(name, 1, 1)
    return out


def free_bytes() -> int:
    """Memory that a process may take without pushing others out."""
    pages: int = os.sysconf("SC_AVPHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return pages * os.sysconf("SC_PAGE_SIZE")
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return found["MemAvailable"] * 1024


def share_of(lake: Path, fits: float) -> tuple[float, Path]:
    """The largest share of the buckets, one over a power of two, that fits; and a lake of them.

    Clients stay whole, so that such a lake is one like any other.
    """
    info, share = lake_info(lake), 1.0
    while share > fits and int(info.buckets * share) > 1:
        share /= 2
    if share == 1.0:
        return share, lake
    buckets = int(info.buckets * share)
    part = lake.with_name(f"{lake.name}-{buckets}-buckets")
    if not part.exists():
        create_lake(part, replace(info, buckets=buckets))
        for name in ("sessions", "instruments"):
            shutil.copytree(lake / name, part / name, copy_function=os.link)
        for name in ("accounts", "trades"):
            for k in range(buckets):
                folder = Path(name) / f"bucket={k:03d}"
                shutil.copytree(lake / folder, part / folder, copy_function=os.link)
    return buckets / info.buckets, part


def _median(found: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(found, key=lambda one: float(one["seconds"]))[len(found) // 2]


def _growth(folder: Path, threads: int, seed: int, stages: Stages) -> float:
    """How processor time grows with the clients, as a power, at the same trades a client."""
    spent = []
    for k, clients in enumerate(GROWTH_CLIENTS):
        lake = folder / f"growth-{clients}"
        make_lake(lake, clients * GROWTH_TRADES_A_CLIENT, clients, seed)
        spent.append(min(_work("full", lake, threads)["cpu_seconds"] for _ in range(2)))
        shutil.rmtree(lake)
        stages("growth", k + 1, len(GROWTH_CLIENTS))
    few, many = GROWTH_CLIENTS
    return round(math.log(spent[1] / spent[0]) / math.log(many / few), 3)


def text_of(document: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{document['trades']:,} trades, {document['clients']:,} clients"]
    lines += [f"  {name:<10}{spent:>10.2f} s" for name, spent in document["seconds"].items()]
    names = (
        "ratio_to_pandas", "ratio_to_polars", "ratio_to_floor", "incremental_ratio_to_full",
        "incremental_ratio_to_full_with_state", "growth_exponent", "peak_rss_mb",
    )  # fmt: skip
    lines += [f"  {name}: {document[name]}" for name in names]
    for name, share in document["rivals_share"].items():
        if share < 1:
            lines.append(f"  {name} got {share:.1%} of the buckets, as many as its memory allows")
    return "\n".join(lines)
