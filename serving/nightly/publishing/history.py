"""What the ledger says is published: every publication and rollback is an entry, the last holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_contracts.errors import InputError
from serving.ledger import LedgerReader

PUBLISHED_KIND: Final = "run_published"
"""Body: ``run_id``, ``replaces`` (or null), ``act`` (publish or rollback), ``run_sha256``,
``verdict`` and ``verdict_sha256`` (null of a rollback), ``proposal_id`` (null unless two people
approved), ``actor``, ``reason``."""
_MOST: Final = 100_000


@dataclass(frozen=True)
class Run:
    """A finished run on record: the bodies of its first and last entries."""

    started: Mapping[str, Any]
    finished: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Its name."""
        return str(self.finished["run_id"])

    @property
    def effective_on(self) -> dt.date:
        """The day from whose open its decisions hold."""
        return dt.date.fromisoformat(str(self.started["effective_on"]))

    @property
    def sha256(self) -> str:
        """The hash over all its decisions: what approval and publication are bound to."""
        return str(self.finished["decisions_sha256"])


def find_run(reader: LedgerReader, run_id: str | None) -> Run:
    """A finished run by its name, or the latest night on record.

    Raises
    ------
    InputError
        If there is no such run, or it was never finished: half a night is never published.
    """
    finished = {str(e.body["run_id"]): e.body for e in reader.latest("kind/run_finished", _MOST)}
    if run_id is None:
        if not finished:
            raise InputError(
                "no night is on record yet; run `gearline reprice LAKE --as-of DAY` before serving"
            )
        # newest first: of two runs of one day the later recorded one
        run_id = max(finished, key=lambda name: str(finished[name]["as_of"]))
    for entry in reader.latest(f"run_id/{run_id}", 10_000):
        if entry.kind == "run_started":
            if run_id not in finished:
                raise InputError(
                    f"run {run_id} was begun and not finished; run the same `gearline reprice`"
                    " again, it goes on where it was"
                )
            return Run(dict(entry.body), dict(finished[run_id]))
    if run_id in finished:
        raise InputError(f"run {run_id} has no start on record; verify the ledger")
    raise InputError(
        f"there is no run {run_id!r} on record; `gearline ledger export` lists the runs"
    )


@dataclass(frozen=True)
class History:
    """The publications of a ledger, replayed: a stack that a rollback takes one off.

    Attributes
    ----------
    stack : runs, the last one in force, the one before it what a rollback returns to
    withdrawn : runs that were rolled back and not published since
    position : of the last entry, -1 without one
    """

    stack: tuple[str, ...]
    withdrawn: frozenset[str]
    position: int
    last: Mapping[str, Any] | None

    @property
    def current(self) -> str | None:
        """The run in force."""
        return self.stack[-1] if self.stack else None

    @property
    def before(self) -> str | None:
        """What a rollback would return to."""
        return self.stack[-2] if len(self.stack) > 1 else None


def replay(acts: list[tuple[str, str]]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The stack and the withdrawn runs after acts of (``publish`` or ``rollback``, run), in order.

    >>> replay([("publish", "a"), ("publish", "b"), ("rollback", "a")])
    (('a',), frozenset({'b'}))
    """
    stack: list[str] = []
    withdrawn: set[str] = set()
    for act, run_id in acts:
        if act == "rollback":
            while stack and stack[-1] != run_id:
                withdrawn.add(stack.pop())
        elif not stack or stack[-1] != run_id:
            stack.append(run_id)
        if stack:
            withdrawn.discard(stack[-1])
    return tuple(stack), frozenset(withdrawn)


def history(reader: LedgerReader) -> History:
    """What is published, from the ledger alone."""
    entries = reader.latest(f"kind/{PUBLISHED_KIND}", _MOST)[::-1]
    stack, withdrawn = replay([(str(e.body["act"]), str(e.body["run_id"])) for e in entries])
    last = entries[-1] if entries else None
    return History(
        stack,
        withdrawn,
        -1 if last is None else last.position,
        None if last is None else dict(last.body),
    )
