"""Replay: a stored decision, or a sample of all, decided again and compared byte for byte."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import orjson
from starlette.responses import Response

from serving.console import decided
from serving.console.access import STAFF
from serving.console.frame import Frame, Page, Visit, whole
from serving.console.reviews import refuse_blind
from serving.replay import replay_one, replay_sample

LARGEST_SAMPLE = 500


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    r = Replays(frame)
    return [Page("GET", "/console/replay", STAFF, r.show)]


class Replays:
    """Runs the replay of the ledger's decisions."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def show(self, visit: Visit) -> Response:
        """The form, and the outcome where a number or a sample was asked for."""
        settings = self._service.settings
        number, sample = visit.query("decision").strip(), visit.query("sample").strip()
        report, body = None, None
        if number:
            report, body = await anyio.to_thread.run_sync(
                partial(replay_one, settings.lake, settings.ledger, number)
            )
        elif whole(sample) is not None:
            count = min(whole(sample) or 0, LARGEST_SAMPLE)
            report = await anyio.to_thread.run_sync(
                partial(replay_sample, settings.lake, settings.ledger, count, 1)
            )
        if body:
            await refuse_blind(visit, str(body["client_id"]))
        raw = None
        if body and visit.reader == "compliance":
            # a whole body holds reasons of every audience
            raw = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
        return visit.page(
            "replay.html.j2",
            number=number,
            sample=sample,
            report=report,
            head=None if not body else decided.head(visit, body, {**body, "stale": False}),
            reasons=[] if not body else decided.reasons(visit, body["reasons"]),
            raw=raw,
            most=LARGEST_SAMPLE,
        )
