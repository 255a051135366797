"""What people's approved proposals bring into force, and from when: policy packs and models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.lifecycle import RELEASED_KIND
from models.policy import Pack
from models.policy.kept import pack_with
from serving.ledger import LedgerReader, StoredEntry

POLICY_KIND: Final = "policy_approved"
_MOST: Final = 1000


@dataclass(frozen=True)
class Approved:
    """A pack or a bundle, by hash, and the instant from which it is in force."""

    sha256: str
    since: dt.datetime
    position: int


def approved_packs(reader: LedgerReader, pack: str) -> list[Approved]:
    """The approved packs of a jurisdiction, in the order in which they come into force."""
    entries = reader.latest(f"kind/{POLICY_KIND}", _MOST)
    return _ordered((e, "sha256") for e in entries if e.body.get("pack") == pack)


def released_models(reader: LedgerReader) -> list[Approved]:
    """The released bundles, of clients and applicants, in that order too; a retirement is none."""
    entries = reader.latest(f"kind/{RELEASED_KIND}", _MOST)
    return _ordered((e, "bundle") for e in entries if isinstance(e.body.get("bundle"), str))


def in_force(found: Sequence[Approved], moment: dt.datetime) -> Approved | None:
    """The last one that had come into force at a moment."""
    past = [a for a in found if a.since <= moment]
    return past[-1] if past else None


def pack_in_force(root: Path, reader: LedgerReader, name: str, moment: dt.datetime) -> Pack | None:
    """The approved pack of a jurisdiction at a moment; None where none was ever approved.

    Raises
    ------
    InputError
        If it is not kept in the lake: nothing is decided by another than the approved one.
    """
    found = in_force(approved_packs(reader, name), moment)
    return None if found is None else pack_with(root, name, found.sha256)


def _ordered(entries: Iterable[tuple[StoredEntry, str]]) -> list[Approved]:
    found = [
        Approved(
            str(entry.body[name]),
            # approvals of before this was recorded hold from their entry on
            dt.datetime.fromisoformat(str(entry.body.get("effective_at") or entry.recorded_at)),
            entry.position,
        )
        for entry, name in entries
    ]
    return sorted(found, key=lambda a: (a.since, a.position))
