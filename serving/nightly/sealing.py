"""The second pass of a night: what is not sealed yet is decided and sealed, bucket by bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from serving.ledger import Ledger
from serving.nightly.beside import seal_beside
from serving.nightly.record import sealed_digests
from serving.nightly.segments import DECISIONS_FILE
from serving.nightly.store import Store
from serving.nightly.tasks import FirstAnswer, SecondAnswer, Work

Progress = Callable[[str, int, int], None]
T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Hands tasks out and gives their answers back in order."""

    workers: int

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The answers in order of the tasks."""


@dataclass
class Spent:
    """Processor seconds by stage and the largest worker, over both passes."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_mb: int = 0

    def add(self, answer: FirstAnswer | SecondAnswer) -> None:
        for stage, spent in answer.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self.peak_rss_mb = max(self.peak_rss_mb, answer.peak_rss_mb)


def by_bucket(strangers: dict[int, list[str]], found: pa.Table | None) -> dict[int, pa.Table]:
    """What was found of clients from other buckets, for the buckets that they are in now."""
    out = {}
    for bucket, ids in strangers.items():
        if found is not None and ids:
            mine = pc.is_in(found["client_id"], value_set=pa.array(ids, pa.string()))
            out[bucket] = found.filter(mine)
    return out


def decide_and_seal(
    store: Store,
    work: Work,
    buckets: range,
    ledger: Ledger | None,
    engine: Engine,
    second: Callable[[tuple[Work, int, pa.Table | None]], SecondAnswer],
    extra: dict[int, pa.Table],
    clients: int,
    spent: Spent,
    progress: Progress | None,
) -> tuple[dict[str, Any], int]:
    """The second pass: what is not sealed yet is decided and sealed, in order of the buckets."""
    files = [f"{work.place}/bucket={b:03d}/{DECISIONS_FILE}" for b in buckets]
    sealed = {}
    if ledger is not None:
        found = {b: ledger.position_of(f"segment/{work.run_id}/{b}") for b in buckets}
        sealed = {b: position for b, position in found.items() if position is not None}
    tasks = [(work, b, extra.get(b)) for b in buckets if b not in sealed]
    answers = engine.map(second, tasks)
    digest, total, held = hashlib.sha256(), 0, 0
    for bucket in buckets:
        if ledger is not None and bucket in sealed:
            with store.base_with(files[bucket]) as base:
                digests = sealed_digests(ledger, sealed[bucket], base / files[bucket])
            held += held_of(ledger, work.run_id, bucket)
        else:
            answer = next(answers)
            digests = answer.digests
            held += len(answer.held)
            spent.add(answer)
            if ledger is not None:
                _seal(store, work, ledger, answer, files[bucket])
        for d in digests:
            digest.update(d)
        total += len(digests)
        if progress:
            progress("decide", total, clients)
    finished: dict[str, Any] = {
        "run_id": work.run_id,
        "as_of": work.as_of.isoformat(),
        "decisions": total,
        "decisions_sha256": digest.hexdigest(),
        "segments": files,
    }
    if held:
        finished["held"] = held
    return finished, len(sealed)


def _seal(store: Store, work: Work, ledger: Ledger, answer: SecondAnswer, file: str) -> None:
    if answer.held:
        # before the segment: a bucket that is sealed has its held clients on record
        body = {"run_id": work.run_id, "bucket": answer.bucket, "clients": answer.held}
        key = f"held/{work.run_id}/{answer.bucket}"
        ledger.append([{"kind": "run_held", "body": body}], idempotency_keys=[key])
    # so are the models beside the champion
    seal_beside(ledger, work.run_id, answer.bucket, answer.beside)
    with store.base_with(file) as base:
        ledger.seal_segment(
            run_id=work.run_id,
            bucket=answer.bucket,
            file=file,
            decisions_sha256=answer.digests,
            base_dir=base,
        )


def held_of(ledger: Ledger, run_id: str, bucket: int) -> int:
    """How many clients of a sealed bucket are on record as held."""
    position = ledger.position_of(f"held/{run_id}/{bucket}")
    if position is None:
        return 0
    [entry] = ledger.entries(position, position + 1)
    clients = entry.body["clients"]
    return len(clients) if isinstance(clients, list) else 0
