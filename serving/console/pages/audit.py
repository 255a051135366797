"""The record: search, verify, one entry with its proof, and the export."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio.to_thread
import orjson
from starlette.responses import Response, StreamingResponse

from serving.commands.places import CHECKPOINTS_FILE
from serving.console.access import RECORD
from serving.console.frame import Frame, Page, Visit, whole
from serving.ledger import StoredEntry, export, prove, verify
from serving.nightly.segments import segment_digests
from serving.service.problems import ProblemError

LISTED = 50
FILTERS = ("kind", "client_id", "case_id", "decision_id", "proposal_id", "run_id")


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    a = Audit(frame)
    return [
        Page("GET", "/console/audit", RECORD, a.search),
        Page("POST", "/console/audit/verify", RECORD, a.verify),
        Page("GET", "/console/audit/export", RECORD, a.export),
        Page("GET", "/console/audit/entries/{position}", RECORD, a.entry),
    ]


class Audit:
    """Reads the ledger; changes nothing."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def search(self, visit: Visit) -> Response:
        """Entries under a label, or the newest of all; newest first."""
        chosen = {name: visit.query(name).strip() for name in FILTERS}
        asked = next(((k, v) for k, v in chosen.items() if v), None)
        before = whole(visit.query("before"))
        if asked is not None:
            found = await self._service.look_up(f"{asked[0]}/{asked[1]}", LISTED, before)
            # several fields narrow each other
            found = [e for e in found if all(_has(e, k, v) for k, v in chosen.items() if v)]
        else:
            found = await anyio.to_thread.run_sync(partial(self._newest, before))
        return visit.page(
            "audit.html.j2",
            entries=found,
            chosen=chosen,
            size=await anyio.to_thread.run_sync(self._service.reader.size),
            more=found[-1].position if len(found) == LISTED else None,
            report=None,
        )

    def _newest(self, before: int | None) -> list[StoredEntry]:
        reader = self._service.reader
        top = reader.size() if before is None else min(before, reader.size())
        return [reader.entry(k) for k in range(top - 1, max(top - 1 - LISTED, -1), -1)]

    async def verify(self, visit: Visit) -> Response:
        """Check the whole ledger against its tree, its segments and its signed checkpoints."""
        settings = self._service.settings
        since = settings.lake / CHECKPOINTS_FILE
        report = await anyio.to_thread.run_sync(
            partial(
                verify,
                settings.ledger,
                since=since if since.is_file() else None,
                segment_reader=segment_digests,
                base_dir=settings.lake,
            )
        )
        return visit.page(
            "audit.html.j2",
            entries=await anyio.to_thread.run_sync(partial(self._newest, None)),
            chosen=dict.fromkeys(FILTERS, ""),
            size=report.entries,
            more=None,
            report=report,
        )

    async def entry(self, visit: Visit) -> Response:
        """One entry as it is stored, with the proof that it is in the ledger."""
        position = whole(visit.path("position"))
        size = await anyio.to_thread.run_sync(self._service.reader.size)
        if position is None or position >= size:
            raise ProblemError("not_found", "the ledger has no such entry")
        stored = await anyio.to_thread.run_sync(partial(self._service.reader.entry, position))
        proof: dict[str, Any] = await anyio.to_thread.run_sync(
            partial(prove, self._service.settings.ledger, position)
        )
        return visit.page(
            "entry.html.j2",
            entry=stored,
            body=orjson.dumps(stored.body, option=orjson.OPT_INDENT_2).decode(),
            proof=orjson.dumps(
                {k: v for k, v in proof.items() if k != "entry"}, option=orjson.OPT_INDENT_2
            ).decode(),
        )

    async def export(self, visit: Visit) -> Response:
        """Every entry as a line of canonical JSON: whoever holds it can rebuild the tree."""

        def lines() -> Iterator[bytes]:
            yield from export(self._service.settings.ledger)

        return StreamingResponse(
            lines(),
            headers={
                "content-type": "application/x-ndjson",
                "content-disposition": 'attachment; filename="gearline-ledger.ndjson"',
            },
        )


def _has(entry: StoredEntry, name: str, value: str) -> bool:
    return entry.kind == value if name == "kind" else str(entry.body.get(name)) == value
