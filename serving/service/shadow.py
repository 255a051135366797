"""Models beside the champion in the service: they decide after the answer has gone out, on nobody.

A decision that was recorded and answered is offered to a bounded queue; a thread of its own decides
on it again with each challenger and shadow and keeps the result in a file apart from the ledger.
When the queue is full the decision is let go and counted: the service never waits for it.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.canonical import canonical_bytes
from data_contracts.case import Case, case_from_json
from data_contracts.decision import body_sha256
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import NULL
from models.bundle import Bundle, kept_bundle
from models.decide import decide_columns
from models.decide.body import bodies
from models.lifecycle import PURPOSES
from serving.ledger import LedgerReader
from serving.lineup import lineup_of
from serving.nightly.beside import BESIDE_FOLDER
from serving.service.edge import LOG
from serving.service.metrics import Metrics
from serving.service.world import World

STORE_FILE: Final = f"{BESIDE_FOLDER}/service.sqlite"
"""Below the lake: what models beside the champion would have decided, by decision and bundle."""
LONGEST_QUEUE: Final = 256
LARGEST_GROUP: Final = 16
PAUSE_SECONDS: Final = 0.002
"""Between groups, so that requests that wait are served first."""


@dataclass(frozen=True)
class Beside:
    """A model that decides beside the champion, with the bundle it decides by."""

    role: str
    bundle: Bundle


@dataclass(frozen=True)
class Offer:
    """A recorded decision, and the world that it was made in."""

    entry: dict[str, Any]
    world: World


def models_beside(root: Path, reader: LedgerReader) -> tuple[tuple[Beside, ...], tuple[str, ...]]:
    """Challengers and shadows on record, and the hashes of those whose bundle cannot be read.

    All that is approved counts at once, whatever the service's clock: nothing depends on them.
    """
    found, missing = [], []
    for purpose in PURPOSES.values():
        for placed in lineup_of(root, reader, purpose=purpose).beside:
            try:
                bundle = Bundle.read(kept_bundle(root, placed.bundle_sha256))
            except InputError:
                missing.append(placed.bundle_sha256)
                continue
            found.append(Beside(placed.role, bundle))
    return tuple(found), tuple(missing)


class ShadowStore:
    """Where the results lie: SQLite, written by one thread; safe to read at any time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=5, check_same_thread=False)
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute(
            "CREATE TABLE IF NOT EXISTS decisions (decision_id TEXT NOT NULL, bundle_sha256 TEXT"
            " NOT NULL, role TEXT NOT NULL, champion_sha256 TEXT NOT NULL, night TEXT NOT NULL,"
            " decided_at TEXT NOT NULL, decision BLOB NOT NULL, decision_sha256 TEXT NOT NULL,"
            " PRIMARY KEY (decision_id, bundle_sha256)) WITHOUT ROWID"
        )

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Keep results; one that is there already stays."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class ShadowDesk:
    """Takes offers after answers; ``models`` may be exchanged while it runs."""

    def __init__(self, root: Path, metrics: Metrics, longest: int = LONGEST_QUEUE) -> None:
        self._root, self._metrics = root, metrics
        self._models: tuple[Beside, ...] = ()
        self._queue: queue.Queue[Offer | None] = queue.Queue(maxsize=longest)
        self._store: ShadowStore | None = None
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def follow(self, reader: LedgerReader) -> None:
        """Take the line-up that the ledger has now."""
        self._models, missing = models_beside(self._root, reader)
        self._metrics.beside.set(len(self._models))
        for sha256 in missing:
            LOG.error(json.dumps({"error": "BundleMissing", "bundle": sha256[:16]}))

    async def offer(self, entry: dict[str, Any], world: World) -> None:
        """Hand a recorded decision over; at once, whether there is room or not."""
        if not self._models:
            return
        try:
            self._queue.put_nowait(Offer(entry, world))
        except queue.Full:
            self._metrics.shadow.labels("dropped").inc()

    def close(self, patience_s: float = 2.0) -> None:
        """Stop; what still waits after a moment is let go and counted."""
        if not self._thread.is_alive():
            return
        end = time.monotonic() + patience_s
        while not self._queue.empty() and time.monotonic() < end:
            time.sleep(0.01)
        while True:
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                self._queue.get_nowait()
                self._metrics.shadow.labels("dropped").inc()
        self._thread.join(timeout=patience_s)

    # --- the thread's side ----------------------------------------------------------------------

    def _work(self) -> None:
        stop = False
        while not stop:
            first = self._queue.get()
            group = [] if first is None else [first]
            stop = first is None
            while not stop and len(group) < LARGEST_GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                stop = more is None
                if more is not None:
                    group.append(more)
            if group:
                self._do(group)
                time.sleep(PAUSE_SECONDS)
        if self._store is not None:
            self._store.close()

    def _do(self, group: list[Offer]) -> None:
        for model in self._models:
            mine = [o for o in group if _comparable(o, model.bundle)]
            try:
                rows = list(_rows(mine, model)) if mine else []
                if rows:
                    if self._store is None:
                        self._store = ShadowStore(self._root / STORE_FILE)
                    self._store.add(rows)
            except Exception as error:  # whatever it is, it is no affair of those who were answered
                self._metrics.shadow.labels("failed").inc(len(mine))
                LOG.error(json.dumps({"error": type(error).__name__, "where": "shadow"}))
                continue
            self._metrics.shadow.labels("scored").inc(len(mine))
            self._metrics.shadow.labels("skipped").inc(len(group) - len(mine))


def _comparable(offer: Offer, bundle: Bundle) -> bool:
    """Whether a bundle reads the same rows, and decides by the same policy and market."""
    hashes, world = offer.entry["decision"]["hashes"], offer.world
    return bool(
        hashes["feature_set"] == bundle.feature_set_sha256
        and hashes["bundle"] != bundle.sha256
        and hashes["policy"] == world.policy.sha256
        and hashes["market"] == world.market.sha256
    )


def _rows(offers: list[Offer], model: Beside) -> Iterator[tuple[Any, ...]]:
    """What a model would have decided on cases of one world after the other."""
    by_world: dict[tuple[str, str], list[Offer]] = {}
    for o in offers:
        key = (o.world.market.sha256, o.world.policy.sha256)
        by_world.setdefault(key, []).append(o)
    bundle = model.bundle
    for _, mine in sorted(by_world.items()):
        world = mine[0].world
        cases: list[Case] = [case_from_json(o.entry["case"]) for o in mine]
        values = np.array(
            [[NULL if v is None else v for v in o.entry["features"]] for o in mine], dtype=np.int64
        )
        frame = FeatureFrame(
            str(bundle.features["feature_set"]),
            bundle.feature_set_sha256,
            bundle.names,
            tuple(c.client_id for c in cases),
            world.market.session,
            values,
        )
        made = decide_columns(cases, frame, bundle, world.policy, world.market)
        for offer, body in zip(mine, bodies(made), strict=True):
            data = canonical_bytes(body)
            yield (
                offer.entry["decision_id"],
                bundle.sha256,
                model.role,
                offer.entry["decision"]["hashes"]["bundle"],
                offer.entry["night"],
                offer.entry["decided_at"],
                data,
                body_sha256(body).hex(),
            )
