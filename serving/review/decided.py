"""The decision that a case is about, whole: from its entry, or decided again from its segment."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_contracts.decision import body_sha256
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from models.bundle import Bundle
from models.conditions import settle
from models.decide import decide_columns
from models.decide.body import bodies
from models.policy.kept import pack_with
from serving.ledger import LedgerReader
from serving.nightly.segments import read_decisions, read_inputs
from serving.review.case import ReviewCase
from serving.review.night import run_bodies

DECISION_KIND = "decision"


@lru_cache(maxsize=4)
def _bundle(folder: Path) -> Bundle:
    return Bundle.read(folder, verify=False)


@lru_cache(maxsize=4)
def _market(folder: Path) -> MarketSnapshot:
    return MarketSnapshot.read(folder, verify=False)


def decision_entry(root: Path, reader: LedgerReader, case: ReviewCase) -> dict[str, Any]:
    """The decision of a case with what surrounds it, like the body of a service's entry.

    A night keeps the figures of a decision and its inputs: the body is decided again from them and
    must have the hash that was sealed.

    Raises
    ------
    InputError
        If the decision is not on record, or comes out otherwise than it was sealed.
    """
    if case.source == "service":
        for entry in reader.latest(f"decision_id/{case.decision_id}", 5):
            if entry.kind == DECISION_KIND:
                return dict(entry.body)
        raise InputError(f"decision {case.decision_id} is not on record; verify the ledger")
    started, finished = run_bodies(reader, case.run_id)
    assert case.bucket is not None
    assert case.row is not None
    path = root / finished["segments"][case.bucket]
    [sealed] = read_decisions(path, ["decision_sha256"])["decision_sha256"].slice(case.row, 1)
    bundle = _bundle(root / started["bundle_path"])
    market = _market(path.parent.parent / "market")
    policy = pack_with(root, started["policy"], started["policy_sha256"]).on(
        dt.date.fromisoformat(started["effective_on"])
    )
    cases, values = read_inputs(path.parent, [case.row])
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        (cases[0].client_id,),
        market.session,
        values,
    )
    body = next(iter(bodies(decide_columns(cases, frame, bundle, policy, market))))
    if body_sha256(body) != sealed.as_py():
        raise InputError(
            f"decision {case.decision_id} comes out otherwise than it was sealed; run"
            f" `gearline replay {case.decision_id}`"
        )
    return {
        "decision_id": body["decision_id"],
        "decision": body,
        "decision_sha256": sealed.as_py().hex(),
        "facts": [],
        "settled": settle(body, [], None),
    }
