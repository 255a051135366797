"""The queue: what waits, what is late, and the next case for whoever asks."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from models.review import RULES, trigger_text
from serving.console.access import REVIEWERS
from serving.console.frame import Frame, Page, Visit
from serving.console.reviews import keyed, person, store_of
from serving.review import WORKERS, CaseFilter, QueueEmptyError, ReviewCase, Reviewer

PAGE = 50
LOOKERS = REVIEWERS | {"auditor"}


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    q = Queue(frame)
    return [
        Page("GET", "/console/queue", LOOKERS, q.show),
        Page("POST", "/console/queue/next", WORKERS, q.next),
    ]


def spoken(visit: Visit, case: ReviewCase) -> list[dict[str, str]]:
    """Why the case is here, as far as the visitor may read it."""
    names = visit.service.names[visit.language]
    found = []
    for trigger in case.triggers:
        text = trigger_text(trigger, visit.language, visit.reader, names)
        if text is not None:
            found.append({"name": RULES[trigger.rule].name[visit.language], "text": text})
    return found


def clock(visit: Visit, case: ReviewCase, now: dt.datetime) -> dict[str, str]:
    """The due time in words: how long is left, or how late it is."""
    t = visit.words
    due = dt.datetime.fromisoformat(case.due_at)
    gap = abs(due - now)
    hours, minutes = divmod(int(gap.total_seconds()) // 60, 60)
    days, hours_left = divmod(hours, 24)
    size = t("clock.days", n=days, h=hours_left) if days else t("clock.hours", n=hours, m=minutes)
    if case.late(now):
        return {"text": t("clock.late", size=size), "state": "late"}
    state = "due" if gap < dt.timedelta(hours=8) else ""
    return {"text": t("clock.left", size=size), "state": state}


def row(visit: Visit, case: ReviewCase, now: dt.datetime) -> dict[str, Any]:
    """A line of the list."""
    # of a case that is read blind the list gives nothing away either
    hidden = is_hidden(visit, case)
    why = [] if hidden else spoken(visit, case)
    return {
        "case_id": case.case_id,
        "client_id": case.client_id,
        "why": why[:2],
        "more": max(len(why) - 2, 0),
        "kind": case.kind,
        "outcome": None if hidden else case.outcome,
        "tier": None if hidden else case.tier,
        "exposure": "–" if hidden else visit.show.minor(case.exposure_amt),
        "clock": clock(visit, case, now),
        "level": case.level,
        "state": case.state,
        "holder": case.held_by(now),
        "asleep": case.snoozed_until is not None and case.snoozed_until > now.isoformat(),
    }


def is_hidden(visit: Visit, case: ReviewCase) -> bool:
    """Whether the decision is kept from the visitor until their own view is on record."""
    if not case.blind or case.state != "open" or not visit.has(WORKERS):
        return False
    return not store_of(visit).has_view(case.case_id, visit.subject)


class Queue:
    """Lists cases and hands out the next."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def show(self, visit: Visit) -> Response:
        """The cases that the visitor may know of, in the order in which they are due."""
        now = self._service.settings.now()
        who = await anyio.to_thread.run_sync(partial(person, visit, now))
        only = CaseFilter(
            state=visit.query("state", "open") or None,
            rule=visit.query("rule") or None,
            late=True if visit.query("late") else None,
            held_by=visit.subject if visit.query("mine") else None,
            snoozed=None if visit.query("asleep") else False,
            client_id=visit.query("client").strip() or None,
        )
        return visit.page(
            "queue.html.j2",
            **await anyio.to_thread.run_sync(partial(self._list, visit, who, now, only)),
        )

    def _list(
        self, visit: Visit, who: Reviewer, now: dt.datetime, only: CaseFilter
    ) -> dict[str, Any]:
        store = store_of(visit)
        found = store.page(who, now, only, limit=PAGE, cursor=visit.query("cursor") or None)
        # a filter by rule would tell of a case that is read blind what it is kept for
        cases = [c for c in found.cases if only.rule is None or not is_hidden(visit, c)]
        return {
            "rows": [row(visit, c, now) for c in cases],
            "cursor": found.next_cursor,
            "counts": store.counts(who, now),
            "rules": {k: r.name[visit.language] for k, r in RULES.items()},
            "only": only,
            "may_work": visit.has(WORKERS),
        }

    async def next(self, visit: Visit) -> Response:
        """Take the case that is due first; two people never get the same one."""
        return visit.go(await next_case(visit))


async def next_case(visit: Visit) -> str:
    """The address of the next case, taken for the visitor; the queue where nothing waits."""
    now = visit.service.settings.now()
    desk = visit.service.reviews
    key = keyed(visit, "next")

    def take() -> str:
        try:
            return desk.next(person(visit, now), now, key).case.case_id
        except QueueEmptyError:
            return ""

    found = await anyio.to_thread.run_sync(take)
    return f"/console/cases/{found}" if found else "/console/queue?empty=1"
