"""One timed piece of work in a process of its own, so that its memory is its own; prints JSON.

python -m training.bench.features.work full|state|nightly|floor LAKE THREADS
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from data_contracts.units import IntArray
from features.flow_frame import flow_values
from features.tallies.full import tally_lake
from features.tallies.nightly import advance, build_with_state
from training.bench.features.made_lake import SESSIONS, make_lake, move_delivery, weekdays


def warm() -> None:
    """Both builds of a tiny lake, so that loading what was compiled before is not timed."""
    before, last = (day.item() for day in weekdays(SESSIONS)[-2:])
    with tempfile.TemporaryDirectory(prefix="gearline-warm-") as folder:
        lake, away = Path(folder) / "lake", Path(folder) / "away"
        make_lake(lake, 2_000, 100, seed=1)
        move_delivery(lake, away)
        build_with_state(lake, before, 2)
        move_delivery(away, lake)
        advance(lake, last, before, 2, flow_values)
        flow_values(tally_lake(lake, last, 2))


def run(name: str, lake: Path, threads: int) -> dict[str, Any]:
    """Do the work and say how long it took, wall and processor, and what it found."""
    import duckdb

    before, last = (day.item() for day in weekdays(SESSIONS)[-2:])
    warm()
    started, used = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if name == "full":
        tallies = tally_lake(lake, last, threads)
        values = flow_values(tallies, threads)
    elif name == "state":
        build_with_state(lake, before, threads)
        tallies = None
    elif name == "nightly":
        made: list[IntArray] = []
        night = advance(
            lake, last, before, threads, lambda found: made.append(flow_values(found, threads))
        )
        tallies, values = night.lake, made[0]
        found |= {"new_rows": night.new_rows, "rebuilt_clients": night.rebuilt}
    else:
        con = duckdb.connect()
        con.execute(f"SET threads = {threads}")
        files = str(lake / "trades" / "*" / "*.parquet")
        con.execute(
            "SELECT client_id, count(*), sum(quantity_shares * price)"
            f" FROM read_parquet('{files}') GROUP BY client_id"
        ).fetchnumpy()
        tallies = None
    found |= {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if tallies is not None:
        names = b"\0".join(name.encode() for name in tallies.client_ids.to_pylist())
        hashed = hashlib.sha256(names)
        hashed.update(values.tobytes(order="F"))
        digest = [int(tallies.tallies.sum(n, 250).sum()) for n in ("trades", "bought", "matched")]
        found |= {"clients": len(tallies.client_ids), "digest": digest}
        found["values_sha256"] = hashed.hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
