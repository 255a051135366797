"""The five labels, each over the sessions t+1 .. t+h of the clients looked at in session t.

A label is 1 if the head's event happened, 0 if the whole window was seen without it, -1 (censored)
otherwise. Four rules hold for all heads:

- **An event in the window counts, whatever came before it in the window.** Only without one does
  closing the last account, or another end, censor.
- **The data must reach the window's end**, else nobody of that session is labelled: counting only
  those whose event came early would overstate the rate. ``event_session`` and ``cause`` still say
  what was seen, for hazards fitted session by session.
- **Whoever is not at risk in session t is censored in session t**: no open account; in default (one
  in the last 60 sessions, features count it so too); for calls, a call open already; for borrowing,
  no room.
- **Event time decides.** What happened by t but became known later is past to a label, although the
  features did not know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from data_contracts.units import BoolArray, IntArray
from features.book import DEFAULT_MEMORY_SESSIONS, BookAsOf
from training.labels.outcomes import CURED, FAILED, NEVER, Outcomes

HORIZON_SESSIONS: Final = 60
YEAR_SESSIONS: Final = 252
CALL_SESSIONS: Final = 20
RELEVER_STEP_PERCENT: Final = 10
CENSORED: Final = -1


class Cause(IntEnum):
    """Why a client's watch ended."""

    NONE = 0  # the window was seen to its end, nothing happened
    CALL = 1
    DEFAULT = 2
    FORCED_SALE = 3
    BORROWED = 4
    CURED = 5
    CLOSED = 6
    DATA_END = 7
    IN_DEFAULT = 8
    ALREADY_CALLED = 9
    NO_ROOM = 10
    NO_ACCOUNT = 11
    NOT_CALLED = 12


@dataclass(frozen=True)
class Cohort:
    """The clients looked at in one session.

    Attributes
    ----------
    t : session
    client : int64, shape (n,), client numbers of the outcomes, -1 for one they do not have
    equity_amt : int64, shape (n,), cash and securities less all owed, minor units, as known at t
    """

    t: int
    client: IntArray
    equity_amt: IntArray


@dataclass(frozen=True)
class Labels:
    """One head's answer, int64 arrays of shape (n,).

    Attributes
    ----------
    label : 1, 0 or -1
    event_session : session of the event, else of the censoring, else the window's last
    cause : ``Cause``
    """

    label: IntArray
    event_session: IntArray
    cause: IntArray


def cohort_of(outcomes: Outcomes, book: BookAsOf) -> Cohort:
    """The clients of a book as a cohort."""
    names, wanted = outcomes.names, np.array(book.client_ids, dtype=np.str_)
    place = np.searchsorted(names, wanted).astype(np.int64)
    known = place < len(names)
    known[known] = names[place[known]] == wanted[known]
    return Cohort(book.t, np.where(known, place, -1), book.assets - book.owed)


def default_within(outcomes: Outcomes, cohort: Cohort, horizon: int = HORIZON_SESSIONS) -> Labels:
    """A default within the horizon.

    Over clients with an open account, which is an open limit, borrowed from or not. Never called is
    0. Repaid and closed before the horizon's end without default is censored; repaid but not closed
    is watched on.
    """
    events = [(_first(outcomes, cohort, "defaults", horizon), Cause.DEFAULT)]
    return _judge(outcomes, cohort, horizon, events, barred=[])


def call_within(outcomes: Outcomes, cohort: Cohort, horizon: int = CALL_SESSIONS) -> Labels:
    """A call, or worse, within the horizon.

    A client who crosses the immediate-close line without a call was past the call line, too: a
    default counts as the event, with ``DEFAULT`` as its cause, or the worst accounts would be the
    label's zeros. A client with a call open in session t is censored.
    """
    calls = outcomes.calls
    first = np.full(outcomes.clients, NEVER, dtype=np.int64)
    low, high = np.searchsorted(calls.session, [cohort.t + 1, cohort.t + horizon + 1])
    np.minimum.at(first, calls.client[low:high], calls.session[low:high])
    events = [
        (_first(outcomes, cohort, "defaults", horizon), Cause.DEFAULT),
        (_pick(first, cohort), Cause.CALL),
    ]
    barred = [(_called(outcomes, cohort), Cause.ALREADY_CALLED)]
    return _judge(outcomes, cohort, horizon, events, barred=barred)


def forced_within(outcomes: Outcomes, cohort: Cohort, horizon: int = HORIZON_SESSIONS) -> Labels:
    """A forced sale within the horizon, whether or not the lender calls it a default.

    A default without a sale (nothing could be sold) is 0 if the window was seen to its end.
    """
    events = [(_first(outcomes, cohort, "forced_sales", horizon), Cause.FORCED_SALE)]
    return _judge(outcomes, cohort, horizon, events, barred=[])


def relever_within(outcomes: Outcomes, cohort: Cohort, horizon: int = CALL_SESSIONS) -> Labels:
    """Leverage raised by own borrowing within the horizon.

    1 if at the end of some session of the window the client's principal stands above that of
    session t by more than 10 % of the equity of session t, where

    - principal is what all contracts owe; interest added to a margin loan is not a draw;
    - draws are net of repayments since t: rotating from one financed holding into another, or
      borrowing again what was repaid after t, does not raise leverage, however large the turnover;
    - equity is that of session t, fixed: neither prices nor deposits nor withdrawals after t move
      the label, so that it is about what the client does and not about what the market does;
    - it is the most in the window, so that borrowing that a call has undone again still counts.

    A first loan counts like a further one. Censored for want of room in session t: equity of zero
    or less, a call open, in default. A default in the window ends room to borrow and censors.
    """
    first = _pick(_first_draw(outcomes, cohort, horizon), cohort)
    called = _called(outcomes, cohort)
    return _judge(
        outcomes,
        cohort,
        horizon,
        [(first, Cause.BORROWED)],
        ends=[(_first(outcomes, cohort, "defaults", horizon), Cause.DEFAULT)],
        barred=[(called, Cause.ALREADY_CALLED), (cohort.equity_amt <= 0, Cause.NO_ROOM)],
    )


def noncure(outcomes: Outcomes, cohort: Cohort) -> Labels:
    """A call of session t that is not cured by its deadline.

    1 if its deadline's session ends uncured, or a default, forced sale or shortfall of the account
    comes first; 0 if it is cured, or the account repaid in full or closed, by then. Censored: a
    deadline past the data's end, none stated, no call in session t that is open at its end (cured
    or defaulted within the session, there is nothing left to score). Of calls of several accounts
    in one session the worst decides. A default of earlier days is no bar: the call is what counts.
    """
    calls = outcomes.calls
    low, high = np.searchsorted(calls.session, [cohort.t, cohort.t + 1])
    client, ended, outcome = (a[low:high] for a in (calls.client, calls.ended, calls.outcome))
    label = np.full(outcomes.clients, CENSORED, dtype=np.int64)
    session = np.full(outcomes.clients, cohort.t, dtype=np.int64)
    cause = np.full(outcomes.clients, Cause.NOT_CALLED, dtype=np.int64)
    open_now = ended > cohort.t
    over = ~open_now & (outcome == FAILED)
    pending = calls.deadline[low:high] == NEVER
    last = outcomes.sessions - 1
    # later assignments win: the worst call of a client, and of the failed ones the earliest
    steps = (
        (open_now & (outcome == CURED), 0, Cause.CURED),
        (open_now & (ended == NEVER), CENSORED, Cause.DATA_END),
        (open_now & (outcome == FAILED), 1, Cause.DEFAULT),
        (over, CENSORED, Cause.IN_DEFAULT),
    )
    for chosen, value, why in steps:
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(ended[rows], kind="stable")]
        if why != Cause.CURED:
            rows = rows[::-1]
        label[client[rows]], cause[client[rows]] = value, why
        session[client[rows]] = np.minimum(ended[rows], last)
    label[client[pending]] = CENSORED
    return Labels(
        _pick(label, cohort, CENSORED),
        _pick(session, cohort, cohort.t),
        _pick(cause, cohort, Cause.NO_ACCOUNT),
    )


def _pick(by_client: IntArray, cohort: Cohort, missing: int = NEVER) -> IntArray:
    """Values of the cohort's clients out of those of all."""
    out = np.full(len(cohort.client), missing, dtype=np.int64)
    known = cohort.client >= 0
    out[known] = by_client[cohort.client[known]]
    return out


def _first(outcomes: Outcomes, cohort: Cohort, what: str, horizon: int) -> IntArray:
    dated = outcomes.defaults if what == "defaults" else outcomes.forced_sales
    return _pick(dated.first(cohort.t, cohort.t + horizon, outcomes.clients), cohort)


def _called(outcomes: Outcomes, cohort: Cohort) -> BoolArray:
    """Which clients have a call open at the end of session t."""
    calls = outcomes.calls
    still = (calls.session <= cohort.t) & (calls.ended > cohort.t)
    out = np.zeros(outcomes.clients, dtype=np.int64)
    out[calls.client[still]] = 1
    called: BoolArray = _pick(out, cohort, 0) == 1
    return called


def _closing(outcomes: Outcomes, cohort: Cohort) -> IntArray:
    """Session in which the last account open in session t closes; -1 for none open."""
    here = (outcomes.spell_opened <= cohort.t) & (outcomes.spell_closed > cohort.t)
    closed = np.full(outcomes.clients, -1, dtype=np.int64)
    closed[outcomes.spell_client[here]] = outcomes.spell_closed[here]
    return _pick(closed, cohort, -1)


def _first_draw(outcomes: Outcomes, cohort: Cohort, horizon: int) -> IntArray:
    """First session in which own borrowing since t exceeds the step, shape (clients,)."""
    draws = outcomes.draws
    low, high = np.searchsorted(draws.session, [cohort.t + 1, cohort.t + horizon + 1])
    first = np.full(outcomes.clients, NEVER, dtype=np.int64)
    if low == high:
        return first
    order = low + np.lexsort((draws.session[low:high], draws.client[low:high]))
    client, running = draws.client[order], np.cumsum(draws.amount_amt[order])
    starts = np.r_[True, client[1:] != client[:-1]]
    since_t = running - np.r_[0, running[:-1]][starts][np.cumsum(starts) - 1]
    equity = np.full(outcomes.clients, NEVER // 100, dtype=np.int64)
    known = cohort.client >= 0
    equity[cohort.client[known]] = cohort.equity_amt[known]
    more = since_t * 100 > equity[client] * RELEVER_STEP_PERCENT
    np.minimum.at(first, client[more], draws.session[order][more])
    return first


def _judge(
    outcomes: Outcomes,
    cohort: Cohort,
    horizon: int,
    events: Sequence[tuple[IntArray, Cause]],
    *,
    ends: Sequence[tuple[IntArray, Cause]] = (),
    barred: Sequence[tuple[BoolArray, Cause]],
) -> Labels:
    """First event of the window, else first end, else the window's end; the module's four rules.

    Parameters
    ----------
    events, ends : session in each client's window or ``NEVER``, and its cause; of equal sessions
        the one named first. Closing is among the ends of every head.
    barred : clients who are not at risk; no account and in default come first for every head
    """
    t, last = cohort.t, cohort.t + horizon
    closing = _closing(outcomes, cohort)
    session = np.full(len(cohort.client), NEVER, dtype=np.int64)
    cause = np.full(len(cohort.client), Cause.NONE, dtype=np.int64)
    for when, why in events:
        sooner = when < session
        session[sooner], cause[sooner] = when[sooner], why
    label = (session < NEVER).astype(np.int64)
    ended = np.where(closing <= last, closing, NEVER)
    for when, why in (*ends, (ended, Cause.CLOSED)):
        sooner = (label != 1) & (when < session)
        session[sooner], cause[sooner], label[sooner] = when[sooner], why, CENSORED
    watched = session == NEVER
    session[watched] = min(last, outcomes.sessions - 1)
    if last >= outcomes.sessions:
        cause[watched] = Cause.DATA_END
        label[:] = CENSORED
    memory = outcomes.defaults.first(t - DEFAULT_MEMORY_SESSIONS, t, outcomes.clients)
    first_of_all = [
        (closing < 0, Cause.NO_ACCOUNT),
        (_pick(memory, cohort) < NEVER, Cause.IN_DEFAULT),
    ]
    for who, why in reversed([*first_of_all, *barred]):
        label[who], session[who], cause[who] = CENSORED, t, why
    return Labels(label, session, cause)
