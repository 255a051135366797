"""What the ledger holds of a run: a repeated night adds nothing, a broken one goes on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.errors import InputError
from serving.ledger import Ledger, Location, exists, leaf_hash, read_entries
from serving.ledger import root as merkle_root
from serving.nightly.publishing.history import PUBLISHED_KIND, replay
from serving.nightly.segments import segment_digests


@dataclass(frozen=True)
class Recorded:
    """What the ledger holds of this run and of the run that its steps refer to.

    ``overrides_before`` is the position from which on entries are not the affair of a run that has
    begun: people's limits that came later bind in the next night.
    """

    started: dict[str, Any] | None
    finished: dict[str, Any] | None
    last: dict[str, Any] | None
    overrides_before: int | None = None


def recorded(ledger_path: Location | None, run_id: str, as_of: dt.date) -> Recorded:
    """Look up a run, and the run whose decisions its steps refer to.

    That is the latest one published for an earlier day: a night that the gate blocked is no step.
    Where none was ever published it is the latest one finished. A run that has begun keeps to the
    one it began with, whatever has been decided since for days between.
    """
    started: dict[str, Any] | None = None
    before_position: int | None = None
    runs: dict[str, dict[str, Any]] = {}
    acts: list[tuple[str, str]] = []
    if ledger_path is not None and exists(ledger_path):
        for entry in read_entries(ledger_path):
            if entry.kind == "run_started" and entry.body["run_id"] == run_id:
                started = dict(entry.body)
                before_position = int(started.get("overrides_before", entry.position))
            elif entry.kind == "run_finished":
                runs[str(entry.body["run_id"])] = dict(entry.body)
            elif entry.kind == PUBLISHED_KIND:
                acts.append((str(entry.body["act"]), str(entry.body["run_id"])))
    if started is not None:
        before = started["previous_run"]
        last = None if before is None else runs[before]
    else:
        # in the order they were published, or, where none was, recorded
        base = [runs[name] for name in replay(acts)[0]] if acts else list(runs.values())
        earlier = [r for r in base if str(r["as_of"]) < as_of.isoformat()]
        # of two runs of one day the later one
        last = max(reversed(earlier), key=lambda r: str(r["as_of"]), default=None)
    return Recorded(started, runs.get(run_id), last, before_position)


def sealed_digests(ledger: Ledger, position: int, path: Path) -> list[bytes]:
    """The decision hashes of a sealed segment, from its file if that is still the sealed one."""
    digests: list[bytes] = segment_digests(path)
    [entry] = ledger.entries(position, position + 1)
    if merkle_root([leaf_hash(d) for d in digests]).hex() != entry.body["decisions_root"]:
        raise InputError(
            f"{path} no longer holds the decisions that were sealed; run `gearline ledger verify`"
            " and restore it from a backup"
        )
    return digests


def check_same(was: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Refuse to go on with a run whose inputs are no longer those it began with."""
    changed = [] if was is None else [k for k in now if k in was and was[k] != now[k]]
    if was is not None and was.get("beside", []) != now.get("beside", []):
        changed = [*(k for k in changed if k != "beside"), "choice of challengers"]
    if changed:
        raise InputError(
            f"run {now['run_id']} was begun with another {' and '.join(changed)}; restore what"
            " changed to finish it, or decide as of another session"
        )
