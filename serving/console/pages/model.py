"""The model: its card, the shape of every feature's effect, its report and its review date."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

from data_contracts.decision import DECISION_ENGINE_VERSION
from models.bundle import Bundle
from models.conditions import DRIFT_RED_E6
from serving.console.access import AUTHORS, STAFF
from serving.console.formats import prob
from serving.console.frame import Frame, Page, Visit
from serving.console.pages.proposals import latest_proposals
from serving.console.pictures import shapes
from serving.service.problems import ProblemError
from serving.service.proposals import Proposals

REPORTS: Final = {
    "summary.html": "text/html; charset=utf-8",
    "validation.html": "text/html; charset=utf-8",
    "validation.json": "application/json",
}
"""Reports that may lie in the lake; handed out as files, never shown inside the console."""
SHOWN_AT_ONCE: Final = 8


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    m = Models(frame)
    return [
        Page("GET", "/console/model", STAFF, m.show),
        Page("POST", "/console/model", AUTHORS, m.propose),
        Page("GET", "/console/model/reports/{name}", STAFF, m.report),
    ]


def shape_rows(visit: Visit, bundle: Bundle) -> list[dict[str, Any]]:
    """The shape of each feature, the widest first."""
    joint = bundle.joint_reference
    declared = bundle.features["features"]
    rows = []
    for s in shapes(bundle.head, None if joint is None else joint.counts):
        feature = declared[s.feature]
        rows.append(
            {
                "name": visit.show.name(feature),
                "code": feature["name"],
                "shape": s,
                "low": visit.show.feature(feature, s.low),
                "high": visit.show.feature(feature, s.high),
                "least": visit.show.score(s.least),
                "most": visit.show.score(s.most),
                "direction": {1: "riskier", -1: "safer", 0: "free"}[int(feature["direction"])],
                "family": feature["family"],
            }
        )
    return rows


class Models:
    """Reads the bundle in force."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    def _reports(self) -> list[str]:
        lake: Path = self._service.settings.lake
        return [name for name in REPORTS if (lake / name).is_file()]

    async def show(self, visit: Visit) -> Response:
        """The card and the shapes."""
        world = self._service.engine.world
        bundle = world.bundle
        head = bundle.head
        edges = [0, *bundle.tier_edges.tolist(), 10**9]
        today = self._service.settings.now().date()
        left = None if world.review_on is None else (world.review_on - today).days
        rows = shape_rows(visit, bundle)
        return visit.page(
            "model.html.j2",
            bundle=bundle,
            engine_version=DECISION_ENGINE_VERSION,
            tables=len(head.effects),
            pairs=sum(len(e.features) == 2 for e in head.effects),
            reference=[
                (k, str(v)) for k, v in sorted(bundle.reference.items()) if isinstance(v, int | str)
            ],
            tiers=[
                (str(k + 1), prob(low), prob(high)) for k, (low, high) in enumerate(pairwise(edges))
            ],
            review_on=world.review_on,
            days_left=left,
            drift=world.drift_e6,
            drift_red=DRIFT_RED_E6,
            first=rows[:SHOWN_AT_ONCE],
            rest=rows[SHOWN_AT_ONCE:],
            reports=self._reports(),
            proposals=[
                p
                for p in await latest_proposals(visit)
                if p["kind"] == "model" and p["content"]["bundle_sha256"] == bundle.sha256
            ],
            may_propose=visit.has(AUTHORS),
            next_review=(today + dt.timedelta(days=365)).isoformat(),
        )

    async def propose(self, visit: Visit) -> Response:
        """Ask for the release of the bundle in force until another review date."""
        call = visit.call(
            {
                "kind": "model",
                "direction": "neutral",
                "content": {
                    "bundle_sha256": self._service.engine.world.bundle.sha256,
                    "review_on": visit.form.get("review_on", ""),
                },
                "reason": visit.form.get("reason", "").strip() or None,
            }
        )
        await Proposals(self._service).create(call)
        return visit.go("/console/model")

    async def report(self, visit: Visit) -> Response:
        """A report as a file."""
        name = visit.path("name")
        if name not in self._reports():
            raise ProblemError("not_found", "there is no such report")
        return Response(
            (self._service.settings.lake / name).read_bytes(),
            headers={
                "content-type": REPORTS[name],
                "content-disposition": f'attachment; filename="gearline-{name}"',
            },
        )
