"""What happened to the clients of a lake, as integer arrays: calls, defaults, sales, closings.

Labels go by when a thing happened, not by when it became known. An instant belongs to the first
session whose cut-off is not before it, as it does for the features, so that whatever an as-of could
not yet see is in its future.

A **call** ends with the first of

- *good*: a cure after it, the account's principal repaid in full, the account closed;
- *bad*: a default, a forced sale or a shortfall of the account; of two at one instant the bad one;
- its *deadline*: not cured by the end of the deadline's session, it has failed.

A good end in a session after the deadline's is too late. Inside a session the lender's record
decides: a cure later in the deadline's session stands unless a default is recorded before it. What
the lender recovers by force is no cure, whatever is recorded after it.

A **default** is a recorded default, a shortfall (negative equity after liquidation), or a call that
failed; the immediate-close line is crossed where a default says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.tables.account import MARGIN_EVENT_KINDS
from data_contracts.units import BoolArray, IntArray
from features.versions import combine

NEVER: Final = int(np.iinfo(np.int64).max // 4)
"""The session, or instant, of what does not happen."""
OPEN, CURED, FAILED = range(3)
"""How a call ended; ``OPEN`` if the data end before it does."""


@dataclass(frozen=True)
class Facts:
    """What the tables say, corrections applied. Instants are microseconds since 1970 UTC.

    Attributes
    ----------
    cut_offs : shape (sessions,)
    clients : how many
    account_client, account_opened, account_closed : shape (accounts,); sessions, ``NEVER`` if open
    event_account, event_kind, event_at, event_deadline : margin events; a kind is a position in
        ``MARGIN_EVENT_KINDS``; the deadline is ``NEVER`` where there is none
    debt_account, debt_at, debt_change_amt, debt_rolling : changes of a contract's principal, minor
        units, and whether it is a margin loan, to which interest may be added
    paid_account, paid_at, paid_amt : interest paid, positive minor units
    """

    cut_offs: IntArray
    clients: int
    account_client: IntArray
    account_opened: IntArray
    account_closed: IntArray
    event_account: IntArray
    event_kind: IntArray
    event_at: IntArray
    event_deadline: IntArray
    debt_account: IntArray
    debt_at: IntArray
    debt_change_amt: IntArray
    debt_rolling: BoolArray
    paid_account: IntArray
    paid_at: IntArray
    paid_amt: IntArray

    def session(self, at: IntArray) -> IntArray:
        """The session of each instant; ``NEVER`` past the last cut-off."""
        found = np.searchsorted(self.cut_offs, at).astype(np.int64)
        return np.where(found == len(self.cut_offs), NEVER, found)


@dataclass(frozen=True)
class Dated:
    """Things that happen to clients: int64 client and session, ascending by session."""

    client: IntArray
    session: IntArray

    def first(self, after: int, last: int, clients: int) -> IntArray:
        """Session of each client's first in after+1 .. last, shape (clients,), or ``NEVER``."""
        low, high = np.searchsorted(self.session, [after + 1, last + 1])
        out = np.full(clients, NEVER, dtype=np.int64)
        np.minimum.at(out, self.client[low:high], self.session[low:high])
        return out


@dataclass(frozen=True)
class Calls:
    """Calls of accounts, ascending by session.

    Attributes
    ----------
    client, session : whose, and the session of the call
    deadline : session, ``NEVER`` past the data's end or without one
    ended : session of the end, ``NEVER`` while open
    outcome : ``OPEN``, ``CURED`` or ``FAILED``
    """

    client: IntArray
    session: IntArray
    deadline: IntArray
    ended: IntArray
    outcome: IntArray


@dataclass(frozen=True)
class Draws:
    """Own change of a client's principal, minor units, one row a client and session.

    Interest that is added to a margin loan is left out: principal that rises by no more than the
    interest paid in the same session was not drawn by the client.
    """

    client: IntArray
    session: IntArray
    amount_amt: IntArray


@dataclass(frozen=True)
class Outcomes:
    """What became of every client, ascending by client number.

    Attributes
    ----------
    client_ids : ascending
    cluster : int64, shape (clients,), one number for all clients ever linked by related groups
    sessions : how many the data have
    spells : client, first session and closing session (``NEVER`` while open) of each stretch of
        time with an open account
    calls, defaults, forced_sales, draws : by session; all defaults, recorded or not
    """

    client_ids: tuple[str, ...]
    cluster: IntArray
    sessions: int
    spell_client: IntArray
    spell_opened: IntArray
    spell_closed: IntArray
    calls: Calls
    defaults: Dated
    forced_sales: Dated
    draws: Draws

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self.cluster)

    @cached_property
    def names(self) -> npt.NDArray[np.str_]:
        """``client_ids`` as an array, to search in."""
        return np.array(self.client_ids, dtype=np.str_)


def outcomes_of(facts: Facts, client_ids: tuple[str, ...], cluster: IntArray) -> Outcomes:
    """Facts as outcomes: calls with their ends, defaults, closings, own borrowing."""
    calls = _calls(facts)
    failed = calls.outcome == FAILED
    recorded = _of_kinds(facts, "default", "shortfall")
    session = facts.session(facts.event_at)
    who = facts.account_client[facts.event_account]
    sold = _of_kinds(facts, "forced_sale")
    return Outcomes(
        client_ids,
        cluster,
        len(facts.cut_offs),
        *_spells(facts),
        calls=calls,
        defaults=_dated(
            np.concatenate([who[recorded], calls.client[failed]]),
            np.concatenate([session[recorded], calls.ended[failed]]),
        ),
        forced_sales=_dated(who[sold], session[sold]),
        draws=_draws(facts),
    )


def _of_kinds(facts: Facts, *kinds: str) -> BoolArray:
    return np.isin(facts.event_kind, [MARGIN_EVENT_KINDS.index(k) for k in kinds])


def _dated(client: IntArray, session: IntArray) -> Dated:
    seen = session < NEVER
    order = np.lexsort((client[seen], session[seen]))
    return Dated(client[seen][order], session[seen][order])


def _spells(facts: Facts) -> tuple[IntArray, IntArray, IntArray]:
    """Accounts of a client that overlap, or follow one another in a session, are one spell."""
    used = facts.account_opened < facts.account_closed
    client, opened = facts.account_client[used], facts.account_opened[used]
    closed = facts.account_closed[used]
    order = np.lexsort((closed, opened, client))
    client, opened, closed = client[order], opened[order], closed[order]
    # the furthest closing so far within each client: clients ascend, so one running maximum will do
    instants, rank = np.unique(closed, return_inverse=True)
    far = np.maximum.accumulate(combine((client, 0), (rank.astype(np.int64), len(instants))))
    furthest = instants[far - client * len(instants)] if len(client) else closed
    starts = np.ones(len(client), dtype=bool)
    starts[1:] = (client[1:] != client[:-1]) | (opened[1:] > furthest[:-1])
    last = np.r_[starts[1:], np.ones(min(len(client), 1), dtype=bool)]
    return client[starts], opened[starts], furthest[last]


def _calls(facts: Facts) -> Calls:
    """Each call with the end that comes first."""
    closers = np.flatnonzero(facts.account_closed < len(facts.cut_offs))
    repaid_account, repaid_at = _repaid(facts)
    cured, bad = (
        _of_kinds(facts, "cure"),
        _of_kinds(facts, "default", "forced_sale", "shortfall"),
    )
    # an account closes after all else that happens in its last session
    closed_at = facts.cut_offs[facts.account_closed[closers]]
    instants = np.unique(np.concatenate([facts.event_at, repaid_at, closed_at]))
    account, at = facts.event_account, facts.event_at
    rows = np.flatnonzero(_of_kinds(facts, "call") & (facts.session(at) < NEVER))
    rows = rows[np.argsort(at[rows], kind="stable")]
    find = _Finder(instants, account[rows], at[rows])
    good_at = np.minimum(
        np.minimum(
            find.next(account[cured], at[cured], strictly=True),
            find.next(repaid_account, repaid_at),
        ),
        find.next(closers, closed_at),
    )
    bad_at = find.next(account[bad], at[bad])
    good, ill = facts.session(good_at), facts.session(bad_at)
    # a deadline that a table puts before its call is over with it, not earlier
    deadline = np.maximum(facts.session(facts.event_deadline[rows]), facts.session(at[rows]))
    is_bad = (bad_at <= good_at) & (ill <= deadline) & (ill < NEVER)
    is_good = ~is_bad & (good <= deadline) & (good < NEVER)
    missed = ~is_bad & ~is_good & (deadline < NEVER)
    outcome = np.where(is_bad | missed, FAILED, np.where(is_good, CURED, OPEN))
    ended = np.where(is_bad, ill, np.where(is_good, good, deadline))
    return Calls(
        client=facts.account_client[account[rows]],
        session=facts.session(at[rows]),
        deadline=deadline,
        ended=ended,
        outcome=outcome.astype(np.int64),
    )


class _Finder:
    """For calls of accounts, the next thing that happened to the same account."""

    def __init__(self, instants: IntArray, account: IntArray, at: IntArray) -> None:
        self.instants = instants
        self.key = self._key(account, at)
        self.account = account

    def _key(self, account: IntArray, at: IntArray) -> IntArray:
        rank = np.searchsorted(self.instants, at).astype(np.int64)
        return combine((account, 0), (rank, len(self.instants)))

    def next(self, account: IntArray, at: IntArray, *, strictly: bool = False) -> IntArray:
        """Instant of the first at or after each call (after it, if strictly), or ``NEVER``."""
        out = np.full(len(self.key), NEVER, dtype=np.int64)
        if len(account) == 0:
            return out
        order = np.lexsort((at, account))
        keys = self._key(account, at)[order]
        place = np.searchsorted(keys, self.key, side="right" if strictly else "left")
        there = place < len(keys)
        there[there] = account[order][place[there]] == self.account[there]
        out[there] = at[order][place[there]]
        return out


def _repaid(facts: Facts) -> tuple[IntArray, IntArray]:
    """Accounts, and the instants at which they owed no principal any more."""
    order = np.lexsort((facts.debt_at, facts.debt_account))
    account, at = facts.debt_account[order], facts.debt_at[order]
    if len(account) == 0:
        return account, at
    # a contract's changes sum to what it owes, never below zero: an account's first to last, too
    owed = np.cumsum(facts.debt_change_amt[order])
    starts = np.r_[True, account[1:] != account[:-1]]
    before = np.r_[0, owed[:-1]][starts]
    owed = owed - before[np.cumsum(starts) - 1]
    last = np.r_[(account[1:] != account[:-1]) | (at[1:] != at[:-1]), True]
    none = last & (owed == 0)
    return account[none], at[none]


def _draws(facts: Facts) -> Draws:
    """Change of principal of each client and session, less interest added to margin loans."""
    sessions = len(facts.cut_offs)
    when, paid_when = facts.session(facts.debt_at), facts.session(facts.paid_at)
    seen, paid_seen = when < NEVER, paid_when < NEVER
    key = facts.debt_account[seen] * sessions + when[seen]
    paid_key = facts.paid_account[paid_seen] * sessions + paid_when[paid_seen]
    keys, place = np.unique(key, return_inverse=True)
    change, rolling, paid = (np.zeros(len(keys), dtype=np.int64) for _ in range(3))
    np.add.at(change, place, facts.debt_change_amt[seen])
    of_loans = facts.debt_rolling[seen]
    np.add.at(rolling, place[of_loans], facts.debt_change_amt[seen][of_loans])
    known = np.isin(paid_key, keys)
    np.add.at(paid, np.searchsorted(keys, paid_key[known]), facts.paid_amt[paid_seen][known])
    own = change - np.clip(np.minimum(rolling, paid), 0, None)
    # by session, then client
    by_client = (keys % sessions) * facts.clients + facts.account_client[keys // sessions]
    final, place = np.unique(by_client, return_inverse=True)
    total = np.zeros(len(final), dtype=np.int64)
    np.add.at(total, place, own)
    moved = total != 0
    return Draws(final[moved] % facts.clients, final[moved] // facts.clients, total[moved])
