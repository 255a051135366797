"""Figures of the queue and of the people who work on it."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from models.review import OVERRIDE_REASONS, RULES
from serving.console.access import FIGURES
from serving.console.figures import people, totals
from serving.console.frame import Frame, Page, Visit
from serving.console.pictures import lengths
from serving.console.reviews import person, reviews

DAYS = (7, 30, 90)


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    f = Figures(frame)
    return [Page("GET", "/console/figures", FIGURES, f.show)]


class Figures:
    """Reads the acts of a time."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def show(self, visit: Visit) -> Response:
        """Totals, waiting cases by reason, overrides by reason, and people."""
        asked = visit.query("days", "30")
        days = int(asked) if asked.isdigit() and int(asked) in DAYS else 30
        values = await anyio.to_thread.run_sync(partial(self._values, visit, days))
        return visit.page("figures.html.j2", days=days, choices=DAYS, **values)

    def _values(self, visit: Visit, days: int) -> dict[str, Any]:
        queue = reviews(self._service)
        now = self._service.settings.now()
        who = person(visit, now)
        acts = queue.store.acts(now - dt.timedelta(days=days), now + dt.timedelta(minutes=1))
        cases = {
            k: c
            for k, c in queue.store.cases_by_id(sorted({a.case_id for a in acts})).items()
            if c.audience != "compliance" or visit.reader == "compliance"
        }
        acts = [a for a in acts if a.case_id in cases]
        counts = queue.store.counts(who, now)
        found = totals(acts, cases)
        waiting = sorted(counts["by_rule"].items(), key=lambda i: (-i[1], i[0]))
        overrides = list(found.overrides.items())
        place = "zh" if visit.language == "zh" else "en"
        return {
            "counts": counts,
            "totals": found,
            "in_time": None if not found.closed else found.in_time * 1_000_000 // found.closed,
            "people": people(acts, queue.desk.policy(now)),
            "waiting": [
                {"label": RULES[rule].name[visit.language], "count": n, "bar": bar}
                for (rule, n), bar in zip(waiting, lengths([n for _, n in waiting]), strict=True)
            ],
            "overrides": [
                {
                    "label": getattr(OVERRIDE_REASONS[code], place) if code in OVERRIDE_REASONS else code,
                    "count": n,
                    "bar": bar,
                }
                for (code, n), bar in zip(overrides, lengths([n for _, n in overrides]), strict=True)
            ],
        }
