"""The ``reviews`` table of a lake, from the acts on record: what validation reads of people."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.lake import bucket_of, lake_info, write_bucketed
from serving.review.case import ReviewAct, ReviewCase, moment
from serving.review.store import ReviewStore

KINDS: Final = {
    "confirmed": "confirm",
    "overridden": "override",
    "viewed": "view",
    "escalated": "escalate",
    "appealed": "appeal",
}
"""Acts that the table holds, by their names there; taking, notes and sleep are no judgement."""
SIDES: Final = {"loosens": "looser", "tightens": "tighter"}


def _row(act: ReviewAct) -> dict[str, Any]:
    detail = act.detail
    side = SIDES.get(str(detail.get("side")))
    after = detail.get("after", detail.get("recommended_outcome", detail.get("outcome")))
    return {
        "decision_id": act.decision_id,
        # an override is its author's judgement; who approved it is in the ledger
        "reviewer": str(detail.get("author", act.actor)),
        "kind": KINDS[act.act],
        "side": side,
        "reason": str(detail.get("reason_code", act.act)),
        "before": None if detail.get("before") is None else str(detail["before"]),
        "after": None if after is None else str(after),
        "acted_at": moment(act.acted_at),
        "event_at": moment(act.acted_at),
        "known_at": moment(act.acted_at),
    }


def review_rows(
    store: ReviewStore, until: dt.datetime | None = None
) -> tuple[list[dict[str, Any]], list[ReviewCase]]:
    """The rows of the table in order of their entries, and the case of each."""
    acts = [a for a in store.acts(None, until) if a.act in KINDS]
    cases = store.cases_by_id(sorted({a.case_id for a in acts}))
    return [_row(a) for a in acts], [cases[a.case_id] for a in acts]


def export_reviews(root: Path, store: ReviewStore, until: dt.datetime | None = None) -> int:
    """Write the table ``reviews`` of a lake anew; returns its rows.

    The ledger is what counts: the table is made from it whole, so again gives the same bytes.
    """
    found, cases = review_rows(store, until)
    names = ("decision_id", "reviewer", "kind", "side", "reason", "before", "after", "acted_at",
             "event_at", "known_at")  # fmt: skip
    columns = {name: [row[name] for row in found] for name in names}
    buckets = lake_info(root).buckets
    bucket = np.array(
        [bucket_of(c.client_id, c.related_group_id, buckets) for c in cases], dtype=np.int64
    )
    return write_bucketed(root, "reviews", columns, bucket, buckets)
