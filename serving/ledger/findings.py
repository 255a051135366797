"""What can be wrong with a ledger, and how it is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Finding(StrEnum):
    """What can be wrong with a ledger."""

    DATABASE_UNREADABLE = "database unreadable"
    MISSING_ENTRY = "missing entry"
    ENTRY_CHANGED = "entry changed"
    ENTRIES_SWAPPED = "entries swapped"
    LEAF_HASH_CHANGED = "leaf hash changed"
    ROOT_CHANGED = "root changed"
    NOT_CANONICAL = "entry not canonical"
    TREE_STATE_CHANGED = "tree state changed"
    IDEMPOTENCY_CHANGED = "idempotency record changed"
    LABELS_CHANGED = "labels changed"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten before checkpoint"
    BAD_SIGNATURE = "bad checkpoint signature"
    CHECKPOINT_UNREADABLE = "checkpoint unreadable"
    SEGMENT_ENTRY_INVALID = "segment entry invalid"
    SEGMENT_MISSING = "segment file missing"
    SEGMENT_CHANGED = "segment file changed"
    SEGMENT_ROWS_DIFFER = "segment rows differ"


@dataclass(frozen=True)
class FirstBad:
    """The first contradiction; ``position`` is null where it is at no one entry."""

    position: int | None
    what: Finding
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """How many entries and segments were checked, and the first that is bad, or null."""

    entries: int
    segments: int
    ok: bool
    first_bad: FirstBad | None

    def to_dict(self) -> dict[str, object]:
        """Return the report as a JSON document."""
        return asdict(self)


class ContradictionError(Exception):
    """Carries the first contradiction out of the walk."""

    def __init__(self, position: int | None, what: Finding, detail: str) -> None:
        super().__init__(detail)
        self.first_bad = FirstBad(position, what, detail)
