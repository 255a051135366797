"""The benchmark: both services up at once, loaded in turn, CPU and latency measured outside them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL

CONNECTIONS: Final = (16, 64)
RATE: Final = 100.0
"""Requests a second at which latency is compared."""
ROUNDS: Final = 3
PATIENCE_S: Final = 90
_LEFT_OUT: Final = ("runs", "trades", "positions", "balances", "cash_flows", "truth", "online")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def run(arguments: Any, stages: Any) -> tuple[int, dict[str, Any], str]:
    """``bench serve``."""
    lake: Path = arguments.lake or Path("out/demo")
    if not (lake / "ledger.sqlite").is_file():
        raise InputError(f"{lake} holds no decisions; run `gearline demo` or name another --lake")
    from training.bench.serve.rival import fit_rival

    minutes = arguments.minutes or 3.0
    seconds = max(1.0, minutes * 60 / (ROUNDS * (len(CONNECTIONS) + 1) * 2) * 0.8)
    with tempfile.TemporaryDirectory(prefix="gearline-bench-") as scratch:
        folder = Path(scratch)
        rival = fit_rival(lake, folder, arguments.seed, arguments.bags, stages)
        copy = folder / "lake"
        shutil.copytree(lake, copy, ignore=_needless)
        with _ours(copy) as ours, _usual(rival.files, folder) as usual:
            measured = _measure(copy, ours, usual, seconds, folder, stages)
        sync = fdatasync_ms(folder)
    return 0, *_report(measured, rival, sync, seconds)


def _needless(folder: str, names: list[str]) -> list[str]:
    """What serving does not read: the lake's large tables, all nights but the ends."""
    if Path(folder).name == "runs":
        return []
    return [n for n in names if n in _LEFT_OUT and n != "runs"]


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _process(command: list[str], port: int, path: str, env: dict[str, str]) -> Iterator[Any]:
    """A server that answers ``path``; its group is stopped at the end."""
    server = subprocess.Popen(
        command,
        env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    began = time.perf_counter()
    try:
        while True:
            if server.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                told = (
                    b"" if server.stderr is None or server.poll() is None else server.stderr.read()
                )
                raise InputError(f"{command[1:4]} did not start: {told.decode()[-500:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1)
                break
            except OSError:
                time.sleep(0.05)
        yield {"port": port, "pid": server.pid, "ready_s": time.perf_counter() - began}
    finally:
        os.killpg(server.pid, 15)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)
            server.wait()


@contextmanager
def _ours(lake: Path) -> Iterator[Any]:
    port = _port()
    command = [sys.executable, "-m", "gearline", "serve", "--lake", str(lake), "--port", str(port)]
    with _process([*command, "--rate", "0", "--local-tokens"], port, "/readyz", {}) as found:
        yield found


@contextmanager
def _usual(models: tuple[Path, ...], folder: Path) -> Iterator[Any]:
    port = _port()
    target = "training.bench.serve.usual_service:Usual"
    command = [sys.executable, "-m", "bentoml", "serve", target, "--port", str(port)]
    env = {
        "GEARLINE_BENCH_MODEL": os.pathsep.join(map(str, models)),
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    with _process([*command, "--host", "127.0.0.1"], port, "/readyz", env) as found:
        yield found


def _cpu_seconds(pid: int) -> float:
    """CPU of a process and all below it."""
    total, found = 0.0, [pid]
    while found:
        one = found.pop()
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return total


def _rss_mb(pid: int) -> float:
    """Largest resident memory of a process so far, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _plans(lake: Path) -> dict[str, dict[str, Any]]:
    """What is sent to each: a client's number to ours, a client's features to the other."""
    import sqlite3

    current = json.loads((lake / "online" / "current.json").read_bytes())
    con = sqlite3.connect(lake / "online" / current["run_id"] / "features.sqlite")
    rows = con.execute("SELECT client_id, quanta FROM clients ORDER BY client_id").fetchall()
    con.close()
    token = subprocess.run(
        [sys.executable, "-m", "gearline", "token", "--role", "service", "--lake", str(lake)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    currency = json.loads((lake / "lake.json").read_bytes())["currency"]
    ours = [
        {"client_id": name, "currency": currency, "requested_debt_amt": "1000.00"}
        for name, _ in rows
    ]
    usual = []
    for _, quanta in rows:
        values = np.frombuffer(quanta, dtype="<i8")
        usual.append({"features": [None if v == NULL else float(v) for v in values.tolist()]})
    return {
        "ours": {
            "path": "/v1/decisions",
            "headers": {"authorization": f"Bearer {token}"},
            "bodies": ours,
            "keyed": True,
        },
        "usual": {"path": "/decide", "headers": {}, "bodies": usual, "keyed": False},
    }


def _measure(
    lake: Path, ours: Any, usual: Any, seconds: float, folder: Path, stages: Any
) -> dict[str, Any]:
    plans, servers = _plans(lake), {"ours": ours, "usual": usual}
    shapes: list[tuple[str, int, float]] = [(f"c{n}", n, 0.0) for n in CONNECTIONS]
    shapes.append(("rate", 0, RATE))
    found: dict[str, Any] = {"ours": {}, "usual": {}}

    def load(name: str, shape: tuple[str, int, float], length: float, mark: str) -> dict[str, Any]:
        label, connections, rate = shape
        plan = {**plans[name], "connections": connections, "rate": rate, "seconds": length}
        file = folder / f"{name}-{label}.json"
        file.write_text(json.dumps(plan))
        before = _cpu_seconds(servers[name]["pid"])
        ran = subprocess.run(
            [sys.executable, "-m", "training.bench.serve.load",
             str(servers[name]["port"]), str(file), mark],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        result: dict[str, Any] = json.loads(ran.stdout)
        spent = _cpu_seconds(servers[name]["pid"]) - before
        result["server_cpu_us"] = spent / max(result["requests"], 1) * 1e6
        bad = {s: n for s, n in result["statuses"].items() if not s.startswith("2")}
        if bad:
            raise InputError(f"{name} answered {bad}; the comparison needs every answer to be good")
        return result

    for name in servers:
        load(name, shapes[0], 2.0, "warm")
    total = ROUNDS * len(shapes) * 2
    done = 0
    for k in range(ROUNDS):
        for shape in shapes:
            order = ("ours", "usual") if k % 2 == 0 else ("usual", "ours")
            for name in order:
                mark = f"{shape[0]}-{k}"
                found[name].setdefault(shape[0], []).append(load(name, shape, seconds, mark))
                done += 1
                stages("load test", done, total)
    for name, server in servers.items():
        found[name]["ready_seconds"] = round(server["ready_s"], 3)
        found[name]["peak_rss_mb"] = _rss_mb(server["pid"])
    return found


def fdatasync_ms(folder: Path, count: int = 400) -> dict[str, float]:
    """Median and p99 of one fdatasync after an appended page, as the ledger's log does."""
    path = folder / "sync.bin"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    spent = []
    try:
        for _ in range(count):
            os.write(handle, b"x" * 8192)
            began = time.perf_counter()
            os.fdatasync(handle)
            spent.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(handle)
    return {"p50": float(np.quantile(spent, 0.5)), "p99": float(np.quantile(spent, 0.99))}


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    return float(np.median([r[key] for r in rounds]))


def _side(measured: dict[str, Any]) -> dict[str, Any]:
    side: dict[str, Any] = {
        "ready_seconds": measured["ready_seconds"],
        "peak_rss_mb": measured["peak_rss_mb"],
    }
    for n in CONNECTIONS:
        rounds = measured[f"c{n}"]
        side[f"per_second_{n}"] = round(_median(rounds, "per_second"), 1)
        side[f"server_cpu_us_{n}"] = round(_median(rounds, "server_cpu_us"), 1)
        side[f"load_cpu_us_{n}"] = round(_median(rounds, "load_cpu_us"), 1)
    side["p50_ms"] = round(_median(measured["rate"], "p50_ms"), 3)
    side["p99_ms"] = round(_median(measured["rate"], "p99_ms"), 3)
    side["requests"] = sum(
        r["requests"] for k, v in measured.items() if isinstance(v, list) for r in v
    )
    return side


def _report(
    measured: dict[str, Any], rival: Any, sync: dict[str, float], seconds: float
) -> tuple[dict[str, Any], str]:
    ours, usual = _side(measured["ours"]), _side(measured["usual"])
    ratios = {
        str(n): round(ours[f"per_second_{n}"] / usual[f"per_second_{n}"], 2) for n in CONNECTIONS
    }
    p99_ratio = round(usual["p99_ms"] / ours["p99_ms"], 2)
    document = {
        "throughput_ratio": ratios,
        "p99_ratio": p99_ratio,
        "p99_ms": ours["p99_ms"],
        "fdatasync_p99_ms": round(sync["p99"], 3),
        "fdatasync_p50_ms": round(sync["p50"], 3),
        "p99_allowed_ms": round(5.0 + sync["p99"], 3),
        "cpu_us_per_decision": ours[f"server_cpu_us_{CONNECTIONS[-1]}"],
        "own_auc": round(rival.own_auc, 4),
        "usual_auc": round(rival.usual_auc, 4),
        "usual_bags": len(rival.files),
        "usual_trees": rival.trees,
        "seconds_a_round": round(seconds, 1),
        "rounds": ROUNDS,
        "cores": len(os.sched_getaffinity(0)),
        "ours": ours,
        "usual": usual,
    }
    lines = [
        f"AUC on the same rows: ours {rival.own_auc:.4f}, the usual boosters {rival.usual_auc:.4f}"
        f" ({rival.trees} trees in {len(rival.files)} bags)",
        *(
            f"{n} connections: ours {ours[f'per_second_{n}']:,.0f} /s durable, usual"
            f" {usual[f'per_second_{n}']:,.0f} /s, ratio {ratios[str(n)]}"
            for n in CONNECTIONS
        ),
        f"at {RATE:g} requests/s: p99 ours {ours['p99_ms']:.2f} ms, usual {usual['p99_ms']:.2f} ms;"
        f" one fdatasync p99 {sync['p99']:.2f} ms",
        f"CPU a decision: ours {document['cpu_us_per_decision']:,.0f} us, usual"
        f" {usual[f'server_cpu_us_{CONNECTIONS[-1]}']:,.0f} us; load generator"
        f" {ours[f'load_cpu_us_{CONNECTIONS[-1]}']:,.0f} us",
        f"ready after {ours['ready_seconds']} s, peak memory {ours['peak_rss_mb']} MiB",
    ]
    return document, "\n".join(lines)
