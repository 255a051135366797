"""One timed piece of work in a process of its own, so that its memory is its own; prints JSON.

python -m training.bench.features.work full|state|nightly|floor LAKE THREADS
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from features.flow_frame import flow_values
from features.tallies.full import tally_lake
from features.tallies.nightly import advance, build_with_state
from training.bench.features.made_lake import SESSIONS, weekdays


def warm() -> None:
    """Load what was compiled before, or compile it, so that it is not timed."""
    import numpy as np

    from features.tallies.kernel import day_sums, take_days
    from features.tallies.values import Tallies

    one, yes = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
    days = day_sums(one, one, one, yes, one, yes, 2)
    tallies = Tallies.empty(1, 1)
    tallies.add(*days)
    take_days(days[0], days[2], np.ones(1, dtype=np.int8), 0, tallies.sums)


def run(name: str, lake: Path, threads: int) -> dict[str, Any]:
    """Do the work and say how long it took, wall and processor, and what it found."""
    import duckdb

    before, last = (day.item() for day in weekdays(SESSIONS)[-2:])
    warm()
    started, used = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if name == "full":
        tallies = tally_lake(lake, last, threads)
        flow_values(tallies, threads)
    elif name == "state":
        build_with_state(lake, before, threads)
        tallies = None
    elif name == "nightly":
        night = advance(lake, last, before, threads)
        tallies = night.lake
        flow_values(tallies, threads)
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
        digest = [int(tallies.tallies.sum(n, 250).sum()) for n in ("trades", "bought", "matched")]
        found |= {"clients": len(tallies.client_ids), "digest": digest}
    return found


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
