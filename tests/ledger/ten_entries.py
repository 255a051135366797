"""A ledger of ten entries, to be tampered with, and what verifying it finds."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serving.ledger import (
    FirstBad,
    Ledger,
    Location,
    verify,
)

ENTRIES = 10


def ticking_clock() -> Callable[[], datetime]:
    moment = datetime(2024, 3, 1, 10, 0, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal moment
        moment += timedelta(microseconds=1)
        return moment

    return clock


def note(number: int) -> dict[str, object]:
    return {"kind": "note", "body": {"number": number, "text": f"entry {number} 融资"}}


def decision_hashes(path: Path) -> list[bytes]:
    """The segment reader of these tests: a segment file is its decision hashes in hex lines."""
    return [bytes.fromhex(line) for line in path.read_text().split()]


def write_segment(path: Path, rows: int) -> list[bytes]:
    hashes = [hashlib.sha256(str(row).encode()).digest() for row in range(rows)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(digest.hex() + "\n" for digest in hashes))
    return hashes


def filled(where: Location) -> Location:
    """The ledger with ten entries under one idempotency key each."""
    with Ledger.open(where, create=True, clock=ticking_clock()) as ledger:
        ledger.append(
            [note(number) for number in range(ENTRIES)],
            idempotency_keys=[f"note-{number}" for number in range(ENTRIES)],
        )
    return where


def found(path: Location, since: Path | None = None) -> FirstBad:
    report = verify(path, since=since, segment_reader=decision_hashes)
    assert not report.ok
    assert report.first_bad is not None
    return report.first_bad


def changed_text(entry: bytes) -> bytes:
    return entry.replace(b'"text":"entry', b'"text":"Entry')
