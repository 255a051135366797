"""Figures of the queue and of the people who work on it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from models.review import OVERRIDE_REASONS, RULES
from serving.console.access import FIGURES
from serving.console.frame import Frame, Page, Visit, whole
from serving.console.pages.proposals import reason_text
from serving.console.pictures import lengths
from serving.console.reviews import person, store_of
from serving.review.kpi import review_kpis

DAYS = (7, 30, 90)


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    f = Figures(frame)
    return [Page("GET", "/console/figures", FIGURES, f.show)]


def _rows(pairs: list[tuple[str, int]]) -> list[dict[str, Any]]:
    pairs = sorted(pairs, key=lambda i: (-i[1], i[0]))
    bars = lengths([n for _, n in pairs])
    return [{"label": t, "count": n, "bar": bar} for (t, n), bar in zip(pairs, bars, strict=True)]


class Figures:
    """Reads what the queue's record says of a time."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def show(self, visit: Visit) -> Response:
        """Totals, waiting cases by reason and age, overrides by reason, and people."""
        asked = whole(visit.query("days"))
        days = asked if asked in DAYS else 30
        kpis = await anyio.to_thread.run_sync(partial(self._kpis, visit, days))
        ages = kpis["ages"]
        return visit.page(
            "figures.html.j2",
            days=days,
            choices=DAYS,
            kpis=kpis,
            ratio=_ratio,
            kappa=_kappa,
            waiting=_rows(
                [(RULES[r["rule"]].name[visit.language], r["cases"]) for r in kpis["open_by_rule"]]
            ),
            ages=[
                {
                    "label": visit.words("figures.age", days=a["days"]),
                    "count": a["cases"],
                    "bar": bar,
                }
                for a, bar in zip(ages, lengths([a["cases"] for a in ages]), strict=True)
            ],
            overrides=_rows(
                [
                    (reason_text(visit, r["reason"]), r["cases"])
                    for r in kpis["overrides_by_reason"]
                    if r["reason"] in OVERRIDE_REASONS
                ]
            ),
        )

    def _kpis(self, visit: Visit, days: int) -> dict[str, Any]:
        now = self._service.settings.now()
        who = person(visit, now)
        policy = self._service.reviews.policy(now)
        since = now - dt.timedelta(days=days)
        return review_kpis(store_of(visit), who, since, now, policy)


def _ratio(text: str | None) -> int | None:
    """A share of a decimal string in 1e-6."""
    return None if text is None else int(Decimal(text) * 1_000_000)


def _kappa(text: str | None) -> str:
    return "–" if text is None else f"{Decimal(text):.2f}".replace("-", "−")
