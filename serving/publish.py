"""A published night: what one decision at a time needs of it, in files that replace each other.

``online/RUN/features.sqlite`` holds the quantised rows, ``online/RUN/cases.sqlite`` each client's
case and published limit. ``online/current.json`` names the run in force and is renamed into place
last, so a reader sees one whole night. Which night that is the ledger says
(``serving.nightly.publishing``). With a night goes an entry that says how far the population has
shifted since the first night of the same bundle.
"""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.case import Case, case_from_json
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.lake import write_atomically
from data_contracts.units import NULL
from features.online import publish
from models.bundle import Bundle
from models.conditions import stability_e6
from serving.ledger import Ledger, LedgerReader, Location
from serving.ledger.database import fsync_folder
from serving.nightly.segments import INPUTS_FILE, TIER_NAMES, read_decisions

ONLINE_FOLDER: Final = "online"
CURRENT_FILE: Final = "current.json"
DRIFT_KIND: Final = "drift_measured"
REMEMBERED_CASES: Final = 10_000
"""Cases kept in memory once they were read."""
CUT_OFF_UTC_HOURS: Final = {"USD": 23, "CNY": 10}
"""18:00 of the market in UTC, in winter: the hour after which the next night is due."""


@dataclass(frozen=True)
class PublishedCase:
    """What is published of a client: the case of the night, and the decision made on it."""

    case: Case
    decision_id: str
    max_debt_amt: str


def _tier_counts(root: Path, segments: list[str]) -> list[int]:
    counts: Counter[str] = Counter()
    for name in segments:
        for found in pc.value_counts(read_decisions(root / name, ["tier"])["tier"]).to_pylist():
            counts[found["values"]] += found["counts"]
    return [counts[t] for t in TIER_NAMES]


def measure_drift(root: Path, reader: LedgerReader, bundle: str, run: dict[str, Any]) -> int | None:
    """How far the tiers of a night lie from those of the bundle's first night; None if it is it."""
    nights = {}
    for entry in reader.latest("kind/run_started", 10_000):
        if entry.body["bundle"] == bundle:
            nights[str(entry.body["run_id"])] = str(entry.body["as_of"])
    finished = {str(e.body["run_id"]): e.body for e in reader.latest("kind/run_finished", 10_000)}
    first = min((day, name) for name, day in nights.items() if name in finished)[1]
    if first == run["run_id"]:
        return None
    before = _tier_counts(root, list(finished[first]["segments"]))  # type: ignore[call-overload]
    return stability_e6(before, _tier_counts(root, list(run["segments"])))


def record_drift(root: Path, where: Location, started: dict[str, Any], run: dict[str, Any]) -> None:
    """Record once how far a night's population has shifted."""
    run_id = str(run["run_id"])
    with LedgerReader(where) as reader:
        if any(e.kind == DRIFT_KIND for e in reader.latest(f"run_id/{run_id}", 10_000)):
            return
        index = measure_drift(root, reader, str(started["bundle"]), run)
    body = {"run_id": run_id, "bundle": started["bundle"], "stability_e6": index or 0}
    with Ledger.open(where) as ledger:
        ledger.append([{"kind": DRIFT_KIND, "body": body}], idempotency_keys=[f"drift/{run_id}"])


def write_night(root: Path, started: dict[str, Any], finished: dict[str, Any]) -> None:
    """Write a night's files beside those of other nights; one that is there whole stays."""
    folder = root / ONLINE_FOLDER / str(finished["run_id"])
    # renamed into place last of the night's files
    if not (folder / "cases.sqlite").is_file():
        _write_night(root, folder, started, finished)


def set_current(root: Path, started: dict[str, Any], finished: dict[str, Any]) -> None:
    """Bring a night whose files are written into force, in one rename."""
    current = {"run_id": finished["run_id"], "started": started, "finished": finished}
    write_atomically(
        root / ONLINE_FOLDER / CURRENT_FILE, orjson.dumps(current, option=orjson.OPT_SORT_KEYS)
    )


def current_run(root: Path) -> str | None:
    """The run that is published, or None."""
    path = root / ONLINE_FOLDER / CURRENT_FILE
    return str(orjson.loads(path.read_bytes())["run_id"]) if path.is_file() else None


def good_until(effective_on: dt.date, currency: str) -> dt.datetime:
    """A night's features serve until the cut-off of the session they are effective on."""
    hour = CUT_OFF_UTC_HOURS.get(currency, 18)
    return dt.datetime.combine(effective_on, dt.time(hour), dt.UTC)


def _write_night(
    root: Path, folder: Path, started: dict[str, Any], finished: dict[str, Any]
) -> None:
    bundle = Bundle.read(root / started["bundle_path"])
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "cases.sqlite.tmp"
    temporary.unlink(missing_ok=True)
    con = sqlite3.connect(temporary)
    con.execute("PRAGMA journal_mode = OFF")  # it is renamed into place whole or not at all
    con.execute(
        "CREATE TABLE clients (client_id TEXT NOT NULL, case_json BLOB NOT NULL,"
        " decision_id TEXT NOT NULL, max_debt_amt TEXT NOT NULL)"
    )
    clients: list[str] = []
    rows = []
    for name in finished["segments"]:
        decided = read_decisions(root / name, ["client_id", "decision_id", "max_debt_amt"])
        inputs = pq.read_table((root / name).parent / INPUTS_FILE, partitioning=None)
        names = decided["client_id"].to_pylist()
        con.executemany(
            "INSERT INTO clients VALUES (?, ?, ?, ?)",
            zip(
                names,
                inputs["case"].to_pylist(),
                decided["decision_id"].to_pylist(),
                map(str, decided["max_debt_amt"].to_pylist()),
                strict=True,
            ),
        )
        clients += names
        features = inputs["features"].combine_chunks().flatten()
        rows.append(np.asarray(features.fill_null(NULL)).reshape(len(names), len(bundle.names)))
    # sorted once, at the end: rows put in by name in no order would touch all pages each
    con.execute("CREATE UNIQUE INDEX by_client ON clients (client_id)")
    con.commit()
    con.close()
    currency = ""
    if clients:
        with CaseStore(temporary) as cases:
            found = cases.read(clients[0])
            assert found is not None
            currency = found.case.currency
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(clients),
        dt.date.fromisoformat(started["as_of"]),
        np.concatenate(rows) if rows else np.empty((0, len(bundle.names)), dtype=np.int64),
    )
    effective = dt.date.fromisoformat(started["effective_on"])
    publish(frame, folder / "features.sqlite", good_until(effective, currency))
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(folder / "cases.sqlite")
    fsync_folder(folder)


class CaseStore:
    """The published cases of a night, read one at a time."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"no published cases at {path}; publish the last night again")
        self._connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        # a published night never changes, so a case that was read once stays right
        self._known: OrderedDict[str, PublishedCase] = OrderedDict()

    def __enter__(self) -> CaseStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def read(self, client_id: str) -> PublishedCase | None:
        """A client's case, or None where the night knew no such client."""
        known = self._known.get(client_id)
        if known is not None:
            self._known.move_to_end(client_id)
            return known
        row = self._connection.execute(
            "SELECT case_json, decision_id, max_debt_amt FROM clients WHERE client_id = ?",
            (client_id,),
        ).fetchone()
        if row is None:
            return None
        found = PublishedCase(case_from_json(orjson.loads(row[0])), row[1], row[2])
        self._known[client_id] = found
        while len(self._known) > REMEMBERED_CASES:
            self._known.popitem(last=False)
        return found

    def clients(self, count: int) -> list[str]:
        """Some client numbers, ascending."""
        rows = self._connection.execute(
            "SELECT client_id FROM clients ORDER BY client_id LIMIT ?", (count,)
        ).fetchall()
        return [r[0] for r in rows]
