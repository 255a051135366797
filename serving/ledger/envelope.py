"""The envelope around a recorded body: its kind, its id and the time it was recorded.

Wall-clock time lives here and never inside the body, so that a decision's own bytes and hash can
be computed again at any later time.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError

ENVELOPE_KEYS = frozenset({"body", "entry_id", "kind", "recorded_at"})
REQUEST_KEYS = frozenset({"body", "kind"})
LABELLED = ("case_id", "client_id", "decision_id", "proposal_id", "run_id")
"""Fields of a body under whose values its entry is found again."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RequestConflictError(InputError):
    """A request's key was used before with another request."""


@dataclass(frozen=True)
class KeyedRequest:
    """A caller's request that must take effect once.

    ``key`` names it (no more than a hash of what the caller sent need be kept), ``sha256`` is over
    what was asked for, ``expires_at`` says how long the record is promised.
    """

    key: str
    sha256: bytes
    expires_at: datetime


@dataclass(frozen=True)
class Request:
    """An entry as asked for: checked and frozen into bytes, not yet stamped."""

    kind: str
    body: bytes
    labels: tuple[str, ...]

    def sha256(self) -> bytes:
        """Hash what was asked for; two requests under one idempotency key must agree on it."""
        return request_sha256(self.kind, self.body)


def prepare(entry: Mapping[str, object]) -> Request:
    """Check an entry ``{kind, body}`` and freeze it."""
    if set(entry) != REQUEST_KEYS:
        raise InputError(
            f"a ledger entry has exactly the keys body and kind: got {sorted(map(str, entry))}; "
            "the ledger adds entry_id and recorded_at itself"
        )
    kind, body = entry["kind"], entry["body"]
    if type(kind) is not str or not kind:
        raise InputError(f"the kind of a ledger entry is a non-empty string: got {kind!r}")
    if not isinstance(body, Mapping):
        raise InputError(f"the body of a ledger entry is a mapping: got {type(body).__name__}")
    canonical_bytes(kind)
    return freeze(kind, dict(body), canonical_bytes(dict(body)))


def freeze(kind: str, body: Mapping[str, object], canonical: bytes) -> Request:
    """An entry whose canonical bytes are at hand."""
    return Request(kind, canonical, tuple(labels_of(kind, body)))


def seal(request: Request, entry_id: UUID, recorded_at: datetime) -> bytes:
    """Return the canonical bytes of the stored entry."""
    return orjson.dumps(
        {
            "body": orjson.Fragment(request.body),
            "entry_id": str(entry_id),
            "kind": request.kind,
            "recorded_at": rfc3339_micros(recorded_at),
        },
        option=orjson.OPT_SORT_KEYS,
    )


def request_sha256(kind: str, body: bytes) -> bytes:
    """SHA-256 over the canonical bytes of ``{kind, body}``; ``body`` is already canonical."""
    document = {"body": orjson.Fragment(body), "kind": kind}
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).digest()


def labels_of(kind: str, body: Mapping[str, object]) -> list[str]:
    """The labels under which an entry is found, ascending; they follow from its body alone.

    >>> labels_of("decision", {"decision_id": "d1", "client_id": "c7", "outcome": "approve"})
    ['client_id/c7', 'decision_id/d1', 'kind/decision']
    """
    found = [f"{name}/{body[name]}" for name in LABELLED if isinstance(body.get(name), str)]
    if isinstance(body.get("client_id"), str):
        if kind.startswith("override_"):
            found.append(f"override/{body['client_id']}")
        elif body.get("asked") == "application":
            found.append(f"application/{body['client_id']}")
    return sorted([*found, f"kind/{kind}"])


def utc_now() -> datetime:
    """The default clock of the ledger."""
    return datetime.now(UTC)


def rfc3339_micros(moment: datetime) -> str:
    """Write ``moment`` in UTC with six decimals.

    >>> rfc3339_micros(datetime(2024, 3, 1, 10, 0, tzinfo=UTC))
    '2024-03-01T10:00:00.000000Z'
    """
    return _in_utc(moment).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def next_entry_id(moment: datetime, previous: UUID | None) -> UUID:
    """Return a UUIDv7 (RFC 9562, 5.7, method 3) that sorts after ``previous``.

    The time has 48 bits of milliseconds and 12 bits of fraction. Should the clock stand still or
    go back, the time of ``previous`` is counted up instead.
    """
    micros = (_in_utc(moment) - _EPOCH) // datetime.resolution
    ticks = (micros // 1000) << 12 | (micros % 1000) * 4096 // 1000
    if previous is not None:
        ticks = max(ticks, _ticks(previous) + 1)
    value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64
    return UUID(int=value | 0b10 << 62 | secrets.randbits(62))


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InputError(
            f"the ledger's clock gives times with a zone: got {moment.isoformat()}; "
            "use datetime.now(UTC)"
        )
    return moment.astimezone(UTC)


def _ticks(entry_id: UUID) -> int:
    return (entry_id.int >> 80) << 12 | (entry_id.int >> 64) & 0xFFF
