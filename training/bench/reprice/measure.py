"""The whole benchmark: makes the book, runs the night and its rivals, each in processes of its own."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from data_contracts.errors import InputError
from data_contracts.lake import lake_info
from data_contracts.tables import TABLES
from training.bench.reprice.made import make_book, make_scorer, nights_of, slice_of
from training.bench.reprice.sheet import scale_sheet

Stages = Callable[[str, int, int], None]
ROOT: Final = Path(__file__).parents[3]
RIVAL: Final = ROOT / "bench" / "reprice_usual"
RIVALS: Final = {
    "usual": ("pandas", "shap"),
    "pred_contrib": ("pandas", "contrib"),
    "duckdb": ("duckdb", "contrib"),
}
"""Features by, and attributions by."""
SLICE: Final = {"usual": 5_000, "pred_contrib": 25_000, "duckdb": 50_000}
"""Clients that each rival runs on, about: whole buckets, and no more than there are."""
SMALL: Final = 10_000
"""The smallest book of the growth exponent; one below ten times that is compared with a tenth."""
LEAST: Final = 1_000
ROUNDS: Final = 3
ROUNDS_BELOW: Final = 200_000
"""Up to this many clients ours and the floor run three times and the median counts, else once; of
the smaller books the smallest runs three times."""
SPACE_A_CLIENT: Final = 6_000
"""Bytes of disk that the book and two nights of it take a client, rounded up."""
EQUITY_TOLERANCE: Final = 0.005
"""The rivals take what is owed from the balances, we from the contracts, which accrue later."""


@dataclass(frozen=True)
class Ran:
    """A command's wall seconds, processor seconds, most memory of all its processes together."""

    seconds: float
    cpu_seconds: float
    peak_rss_mb: int
    document: dict[str, Any]


def _children(of: int) -> list[int]:
    """A process and all that descend from it, from /proc."""
    parent: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent[int(entry)] = int(
                    Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1]
                )
            except (OSError, IndexError):
                continue
    found, grown = {of}, True
    while grown:
        more = {p for p, up in parent.items() if up in found} - found
        found |= more
        grown = bool(more)
    return sorted(found)


def _resident_mb(of: int) -> int:
    """Memory of a process and its descendants; what they share counts once each."""
    pages = 0
    for pid in _children(of):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def run_command(command: list[str]) -> Ran:
    """Run a command that prints one JSON document; its memory is sampled five times a second."""
    times, started = os.times(), time.perf_counter()
    with tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=err, cwd=ROOT
        )
        peak, done = [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                peak[0] = max(peak[0], _resident_mb(process.pid))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        out = process.communicate()[0]
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
        if process.returncode != 0:
            err.seek(0)
            last = (err.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{' '.join(command[:3])} failed: {last}")
    after = os.times()
    cpu = after.children_user + after.children_system - times.children_user - times.children_system
    text = out.decode().strip()
    document = json.loads(text if text.startswith("{") else text.splitlines()[-1])
    return Ran(seconds, cpu, max(peak[0], int(document.get("peak_rss_mb", 0))), document)


def _night(lake: Path, day: dt.date, threads: int | None) -> Ran:
    command = ["-m", "gearline", "reprice", str(lake), "--as-of", day.isoformat(), "--json"]
    return run_command([*command, *([] if threads is None else ["--threads", str(threads)])])


def _forget(lake: Path, *nights: str) -> None:
    """Take the record away, so that the next night starts anew; the runs named stay."""
    for path in lake.glob("ledger*"):
        path.unlink()
    for path in (lake / "runs").glob("*"):
        if path.name not in nights:
            shutil.rmtree(path)


def _keep(lake: Path, away: Path) -> None:
    shutil.rmtree(away, ignore_errors=True)
    away.mkdir()
    for path in lake.glob("ledger*"):
        shutil.copy2(path, away / path.name)


def _again(lake: Path, away: Path, first: str) -> None:
    """Back to the moment after the first night."""
    _forget(lake, first)
    for path in away.iterdir():
        shutil.copy2(path, lake / path.name)


def timed_night(
    lake: Path, scratch: Path, threads: int | None, rounds: int
) -> tuple[Ran, float, Ran]:
    """The second of two nights, so that there are decisions to change from.

    Returns the median run, the seconds of a repeated night (start-up alone) and the first night.
    """
    before, day = nights_of(lake)
    _forget(lake)
    first = _night(lake, before, threads)
    _keep(lake, scratch / "record")
    found, idle = [], []
    for k in range(rounds):
        if k:
            _again(lake, scratch / "record", first.document["run_id"])
        found.append(_night(lake, day, threads))
        idle.append(_night(lake, day, threads).seconds)
    middle = sorted(found, key=lambda r: r.seconds)[len(found) // 2]
    return middle, sorted(idle)[len(idle) // 2], first


def floor_seconds(lake: Path, run: Path, scratch: Path) -> tuple[float, int]:
    """Read the bytes of the lake's tables and write the bytes of the night, durable like ours."""
    os.sync()
    started, moved = time.perf_counter(), 0
    for name in TABLES:
        for path in sorted((lake / name).rglob("*.parquet")):
            moved += len(path.read_bytes())
    out = scratch / "floor"
    out.mkdir(parents=True, exist_ok=True)
    for k, path in enumerate(sorted(run.rglob("*.parquet"))):
        data = path.read_bytes()
        moved += len(data)
        with open(out / f"{k}.bin", "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    spent = time.perf_counter() - started
    shutil.rmtree(out)
    return spent, moved


def _counted(run: Path) -> tuple[int, int, float]:
    """Decisions and different clients of a night, and its clients' equity together."""
    sql = "SELECT count(*), count(DISTINCT client_id), sum(equity_amt)::DOUBLE FROM read_parquet(?)"
    found = duckdb.connect().execute(sql, [f"{run}/*/decisions.parquet"]).fetchone()
    assert found is not None
    return int(found[0]), int(found[1]), float(found[2])


def _rival(name: str, lake: Path, day: dt.date, model: Path, out: Path) -> Ran:
    features, explain = RIVALS[name]
    return run_command(
        [
            str(RIVAL), str(lake), day.isoformat(), str(model), "--features", features,
            "--explain", explain, "--out", str(out),
        ]
    )  # fmt: skip


def sizes_below(clients: int) -> list[int]:
    """The smaller books of the growth exponent, ten times as many clients from one to the next.

    >>> sizes_below(1_000_000), sizes_below(50_000)
    ([10000, 100000], [5000])
    """
    if clients < 10 * SMALL:
        return [max(clients // 10, LEAST // 2)]
    out, size = [], SMALL
    while size < clients:
        out.append(size)
        size *= 10
    return out


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder that was named, else one that goes away."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="gearline-bench-") as name:
        yield Path(name)


def _equity_of(run: Path, buckets: int) -> float:
    sql = "SELECT sum(equity_amt)::DOUBLE FROM read_parquet(?)"
    files = [str(run / f"bucket={k:03d}" / "decisions.parquet") for k in range(buckets)]
    found = duckdb.connect().execute(sql, [files]).fetchone()
    assert found is not None
    return float(found[0])


def bench_reprice(
    *,
    clients: int,
    slice_clients: int | None,
    threads: int | None,
    seed: int,
    price: float,
    window_hours: float,
    folder: Path | None,
    stages: Stages,
    books_only: bool = False,
) -> dict[str, Any]:
    """A night on a laboratory book, its rivals on slices of it, a floor, growth and a scale sheet.

    The books are made block by block and, in a folder that was named, found again: a call that was
    killed goes on. With ``books_only`` nothing is timed.

    Raises
    ------
    InputError
        If the book is too small to be compared, or the disk does not hold it.
    """
    if clients < LEAST:
        raise InputError(f"bench reprice needs at least {LEAST} clients, not {clients}")
    started = time.perf_counter()
    with _folder(folder) as at:
        free, needed = shutil.disk_usage(at).free, clients * SPACE_A_CLIENT
        print(f"about {needed / 1e9:.1f} GB of disk of {free / 1e9:.1f} free", file=sys.stderr)
        if free < needed:
            raise InputError(
                f"{clients:,} clients take about {needed / 1e9:.1f} GB in {at}, where"
                f" {free / 1e9:.1f} are free; name another folder with --out"
            )
        lake, smaller = at / "lake", [at / f"lake-{n}" for n in sizes_below(clients)]
        for path, count in zip((*smaller, lake), (*sizes_below(clients), clients), strict=True):
            make_book(path, count, seed, lambda d, n: stages("make", d, n))
        if books_only:
            return {"books": [*sizes_below(clients), clients], "out": str(at)}
        model = at / "model.txt"
        _, day = nights_of(lake)
        trees = make_scorer(lake, day, seed, lake / "bundle", model)
        for small in smaller:
            shutil.rmtree(small / "bundle", ignore_errors=True)
            shutil.copytree(lake / "bundle", small / "bundle")
        stages("fit", 1, 1)
        rounds = ROUNDS if clients <= ROUNDS_BELOW else 1
        grown = []
        for k, small in enumerate(smaller):
            grown.append(timed_night(small, at, threads, 1 if k else ROUNDS)[0])
            _forget(small)
            stages("small", k + 1, len(smaller))
        little = grown[0]
        ours, idle, _ = timed_night(lake, at, threads, rounds)
        run = lake / "runs" / ours.document["run_id"]
        decisions, different, _ = _counted(run)
        floors = [floor_seconds(lake, run, at) for _ in range(rounds)]
        floor, moved = sorted(floors)[len(floors) // 2]
        stages("night", 1, 1)
        rivals: dict[str, Ran] = {}
        agree = True
        buckets = lake_info(lake).buckets
        for k, name in enumerate(RIVALS):
            wanted = slice_clients or SLICE[name]
            count = min(max(1, round(wanted * buckets / clients)), buckets)
            part = at / f"slice-{name}"
            shutil.rmtree(part, ignore_errors=True)
            slice_of(lake, count, part)
            rivals[name] = _rival(name, part, day, model, at / f"{name}.parquet")
            equity = rivals[name].document["assets"] - rivals[name].document["owed"]
            mine = _equity_of(run, count)
            agree &= abs(equity - mine) <= EQUITY_TOLERANCE * max(abs(mine), 1.0)
            shutil.rmtree(part)
            stages("rivals", k + 1, len(RIVALS))
        lake_bytes = sum(p.stat().st_size for n in TABLES for p in (lake / n).rglob("*.parquet"))
        run_bytes = sum(p.stat().st_size for p in run.rglob("*.parquet"))
    cores = threads or os.cpu_count() or 1
    each = ours.seconds / decisions
    counts = [int(r.document["decisions"]) for r in (*grown, ours)]
    power = math.log(decisions / counts[0])
    spent = [sum(r.document["cpu_seconds_by_stage"].values()) for r in (*grown, ours)]
    exponent = round(math.log(spent[-1] / spent[0]) / power, 3)
    steps = [
        round(math.log(spent[k + 1] / spent[k]) / math.log(counts[k + 1] / counts[k]), 3)
        for k in range(len(counts) - 1)
    ]
    theirs = {n: r.document["seconds"] / r.document["clients"] for n, r in rivals.items()}
    return {
        "clients": decisions,
        "cores": cores,
        "trees": trees,
        "clients_per_second": round(decisions / ours.seconds),
        **{f"ratio_to_{n}": round(s / each, 2) for n, s in theirs.items()},
        "ratio_to_floor": round(ours.seconds / floor, 2),
        "growth_exponent": exponent,
        "growth_exponent_wall": round(math.log(ours.seconds / little.seconds) / power, 3),
        "growth_clients": counts,
        "growth_exponent_by_step": steps,
        "peak_rss_mb": ours.peak_rss_mb,
        "peak_rss_mb_by": {n: r.peak_rss_mb for n, r in rivals.items()},
        "seconds_by_stage": ours.document["cpu_seconds_by_stage"],
        "seconds": {
            "ours": round(ours.seconds, 3),
            "startup": round(idle, 3),
            "small": round(little.seconds, 3),
            "floor": round(floor, 3),
            **{n: round(float(r.document["seconds"]), 3) for n, r in rivals.items()},
        },
        "cpu_seconds": {"ours": round(ours.cpu_seconds, 3), "small": round(little.cpu_seconds, 3)},
        "rival_seconds_by_stage": {
            n: {k: round(v, 3) for k, v in r.document["seconds_by_stage"].items()}
            for n, r in rivals.items()
        },
        "slice_clients": {n: r.document["clients"] for n, r in rivals.items()},
        "rival_features": {n: r.document["features"] for n, r in rivals.items()},
        "rivals_agree": agree,
        "one_decision_a_client": decisions == different,
        "lake_mb": lake_bytes // 2**20,
        "night_mb": run_bytes // 2**20,
        "floor_mb": moved // 2**20,
        "scale_sheet": scale_sheet(
            decisions, ours.seconds, idle, cores, ours.cpu_seconds, exponent, price, window_hours
        ),
        "seconds_in_all": round(time.perf_counter() - started, 1),
        "notes": [
            "rivals ran on slices of whole buckets and are scaled by clients; their imports are"
            " not timed, ours are",
            "they make fewer features than ours (rival_features) and look at no previous decision,"
            " related group or record: in their favour",
        ],
    }
