"""The nightly run: what it did to the book, and whether it may be published."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import orjson
from starlette.responses import Response

from serving.console.access import APPROVERS, AUTHORS, STAFF
from serving.console.frame import Frame, Page, Visit
from serving.console.night_figures import Night, night_of
from serving.console.pages.proposals import latest_proposals
from serving.console.pictures import Bin, lengths, shade
from serving.nightly.segments import TIER_NAMES
from serving.service.problems import ProblemError
from serving.service.proposals import Proposals

GATE_FILE: Final = "gate.json"
"""Where a run keeps the verdict of its gate."""
LISTED = 60
"""Nights that are offered for choice."""


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    n = Nights(frame)
    return [
        Page("GET", "/console/night", STAFF, n.show),
        Page("POST", "/console/night", AUTHORS, n.propose),
    ]


class Nights:
    """Reads runs from the ledger and their segments."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    async def _runs(self) -> dict[str, dict[str, Any]]:
        """Finished runs, newest first, each with what it began with."""
        finished = await self._service.look_up("kind/run_finished", LISTED)
        started = {
            e.body["run_id"]: e.body
            for e in await self._service.look_up("kind/run_started", 2 * LISTED)
        }
        found = {
            e.body["run_id"]: {**started.get(e.body["run_id"], {}), **e.body, "at": e.recorded_at}
            for e in finished
        }
        return dict(sorted(found.items(), key=lambda i: str(i[1]["as_of"]), reverse=True))

    async def show(self, visit: Visit) -> Response:
        """One night, the last one unless another is chosen."""
        runs = await self._runs()
        run_id = visit.query("run") or next(iter(runs), "")
        if run_id not in runs:
            raise ProblemError("not_found", "there is no such run")
        run = runs[run_id]
        before = runs.get(run.get("previous_run") or "")
        root = self._service.settings.lake

        def files(of: dict[str, Any] | None) -> tuple[Any, ...]:
            return () if of is None else tuple(root / name for name in of["segments"])

        night = await anyio.to_thread.run_sync(partial(night_of, files(run), files(before)))
        gate = await anyio.to_thread.run_sync(partial(read_gate, root, run_id))
        proposals = [
            p
            for p in await latest_proposals(visit)
            if p["kind"] == "publication" and p["content"]["run_id"] == run_id
        ]
        return visit.page(
            "night.html.j2",
            run=run,
            runs=runs,
            before=before,
            night=night,
            pictures=pictures(visit, night),
            gate=gate,
            rules=[] if gate is None else gate_rows(visit, gate),
            published=self._service.engine.world.run_id == run_id,
            proposals=proposals,
            may_propose=visit.has(AUTHORS),
            may_approve=visit.has(APPROVERS),
        )

    async def propose(self, visit: Visit) -> Response:
        """Ask for the publication of a night."""
        run_id = visit.form.get("run_id", "")
        reason = visit.form.get("reason", "").strip()
        if run_id not in await self._runs():
            raise ProblemError("not_found", "there is no such run")
        content: dict[str, Any] = {"run_id": run_id}
        judged = [
            e.body
            for e in await self._service.look_up(f"run_id/{run_id}", 200)
            if e.kind == "gate_judged"
        ]
        if judged:
            # what two people agree to is this night under this verdict
            content |= {k: judged[0][k] for k in ("run_sha256", "verdict_sha256")}
        document = {"kind": "publication", "direction": "neutral", "content": content}
        call = visit.call({**document, "reason": reason or None})
        await Proposals(self._service).create(call)
        return visit.go(f"/console/night?run={run_id}")


def read_gate(root: Path, run_id: str) -> dict[str, Any] | None:
    """The gate's verdict that lies beside a run, or None where none was given."""
    path = root / "runs" / run_id / GATE_FILE
    if not path.is_file():
        return None
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def gate_rows(visit: Visit, gate: dict[str, Any]) -> list[dict[str, Any]]:
    """The gate's rules in words, those that hold or block first."""
    tongue = visit.language
    order = ("block", "hold", "not_tested", "pass")
    rows = [
        {
            "text": r[tongue],
            "status": r["status"],
            "value": r["value"] or visit.words("word.unknown"),
            "hold": r["hold_above"] or "–",
            "block": r["block_above"] or "–",
            "way_out": r[f"way_out_{tongue}"] if r["counts_as"] != "pass" else "",
        }
        for r in gate["rules"]
    ]
    return sorted(rows, key=lambda r: order.index(r["status"]) if r["status"] in order else 0)


def between(visit: Visit, b: Bin, text: Callable[[int], str]) -> str:
    """A class in words: from, to, or between."""
    t = visit.words
    if b.low is None:
        return t("night.below", value=text(b.high or 0))
    if b.high is None:
        return t("night.from", value=text(b.low))
    return t("night.between", low=text(b.low), high=text(b.high))


def change_rows(visit: Visit, bins: list[Bin], text: Callable[[int], str]) -> list[dict[str, Any]]:
    """A distribution of changes: each class with its way, count and bar."""

    def label(b: Bin) -> str:
        if b.low == 0:
            return visit.words("change.same")
        # no change is the integer 0 alone, so the classes above it begin one later
        low = None if b.low is None else b.low - 1 if b.low > 0 else b.low
        high = None if b.high is None else b.high - 1 if b.high > 1 else b.high
        return between(visit, Bin(low, high, b.count), text)

    return [
        {
            "label": label(b),
            "count": b.count,
            "way": "same" if b.low == 0 else "down" if (b.low is None or b.low < 0) else "up",
            "bar": bar,
        }
        for b, bar in zip(bins, lengths([b.count for b in bins]), strict=True)
    ]


def pictures(visit: Visit, night: Night) -> dict[str, Any]:
    """The rows of each picture, with words and bars."""
    show = visit.show
    debts = lengths([debt for _, debt in night.book])
    migration = None
    if night.migration is not None:
        most = int(night.migration.max())
        migration = [
            {
                "tier": TIER_NAMES[k],
                "cells": [
                    {
                        "count": c,
                        "shade": shade(c, most),
                        "way": "better" if j < k else "worse" if j > k else "same",
                    }
                    for j, c in enumerate(line)
                ],
            }
            for k, line in enumerate(night.migration.tolist())
        ]
    return {
        "tiers": [
            {"label": name, "count": count, "bar": bar}
            for name, count, bar in zip(TIER_NAMES, night.tiers, lengths(night.tiers), strict=True)
        ],
        "migration": migration,
        "limit_changes": change_rows(
            visit, night.limit_changes, lambda v: show.share(v, 0, sign=True)
        ),
        "rate_changes": change_rows(visit, night.rate_changes, show.bps),
        "book": [
            {
                "label": between(visit, b, lambda v: show.share(v, 0)),
                "count": b.count,
                "debt": show.minor(debt // 100 * 100),
                "bar": bar,
            }
            for (b, debt), bar in zip(night.book, debts, strict=True)
        ],
    }
