"""A small published lake made by hand: a bundle, a market, two nights of clients, a ledger."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data_contracts.case import Case, Request
from data_contracts.decision import DECISION_ENGINE_VERSION
from models.decide import decide_columns
from serving.ledger import Ledger, Location
from serving.nightly.segments import write_segment
from tests.models.builders import (
    BUNDLE,
    CLEAR,
    EFFECTIVE,
    MARKETS,
    POLICIES,
    SESSION,
    TYPICAL,
    make_case,
    make_frame,
)

NOW = dt.datetime(2024, 3, 18, 15, tzinfo=dt.UTC)
"""Mid-morning of the session that the night is effective on."""
REVIEW_ON = dt.date(2025, 3, 18)
STATUSES: dict[str, dict[str, Any]] = {
    "kycmissing": {"kyc_expires_on": None},
    "kycexpired": {"kyc_expires_on": dt.date(2024, 3, 1)},
    "unsuitable": {"suitability_level": 1},
    "sanctioned": {"sanctioned": True},
    "amlhigh": {"aml_level": "high"},
    "pep": {"pep": True},
    "refuses": {"automated_decision_refused": True},
    "called": {"margin_state": "called"},
    "defaulted": {"margin_state": "defaulted"},
}
PLAIN = tuple(f"c{k:02d}" for k in range(20))
CURRENCY = "USD"


def cases() -> list[Case]:
    """Twenty plain clients, and one of each status that a gate looks at."""
    status: dict[str, dict[str, Any]] = {name: {} for name in PLAIN} | STATUSES
    return [
        make_case(name, status=replace(CLEAR, **changes))
        for name, changes in sorted(status.items())
    ]


def make_lake(
    root: Path,
    ledger: Location | None = None,
    *,
    released: bool = True,
    values: dict[str, tuple[int, ...]] | None = None,
    nights: tuple[str, ...] = ("night-1",),
) -> Location:
    """Write the lake; returns its ledger. ``values`` are the features of single clients."""
    where = root / "ledger.sqlite" if ledger is None else ledger
    root.mkdir(parents=True, exist_ok=True)
    (root / "lake.json").write_text("{}")
    checked(root)
    BUNDLE.write(root / "bundle")
    with Ledger.open(where, create=True) as record:
        for run_id in nights:
            shift = values if values is not None and run_id == nights[-1] else {}
            add_night(root, record, run_id, shift)
        if released:
            body = {"bundle": BUNDLE.sha256, "review_on": REVIEW_ON.isoformat()}
            record.append([{"kind": "model_released", "body": body}])
    return where


def add_night(
    root: Path, record: Ledger, run_id: str, values: Mapping[str, tuple[int, ...]]
) -> None:
    """Decide on every client and seal it, as the nightly batch does."""
    market, policy = MARKETS["us"], POLICIES["us"]
    market.write(root / "runs" / run_id / "market")
    folder = root / "runs" / run_id / "bucket=000"
    own = [replace(c, request=Request("nightly", run_id)) for c in cases()]
    rows = [values.get(c.client_id, TYPICAL) for c in own]
    frame = make_frame(BUNDLE, [c.client_id for c in own], np.array(rows))
    table = write_segment(folder, decide_columns(own, frame, BUNDLE, policy, market))
    started = {
        "run_id": run_id,
        "as_of": SESSION.isoformat(),
        "effective_on": EFFECTIVE.isoformat(),
        "engine_version": DECISION_ENGINE_VERSION,
        "bundle": BUNDLE.sha256,
        "bundle_path": "bundle",
        "policy": "us",
        "policy_sha256": policy.sha256,
        "feature_set": BUNDLE.feature_set_sha256,
        "market": market.sha256,
        "previous_run": None,
    }
    file = f"runs/{run_id}/bucket=000/decisions.parquet"
    digests = table["decision_sha256"].to_pylist()
    record.append([{"kind": "run_started", "body": started}])
    record.seal_segment(
        run_id=run_id,
        bucket=0,
        file=file,
        decisions_sha256=digests,
        base_dir=root,
    )
    finished = {
        "run_id": run_id,
        "as_of": SESSION.isoformat(),
        "decisions": len(own),
        "decisions_sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
        "segments": [file],
    }
    record.append([{"kind": "run_finished", "body": finished}])


def checked(root: Path, stopped: dict[str, str] | None = None, quarantined: int = 0) -> None:
    """What ``data check`` leaves of a thousand rows."""
    folder = root / "quarantine"
    folder.mkdir(exist_ok=True)
    found = {"rows": 1000, "quarantined": quarantined, "by_rule": {}, "stopped": stopped or {}}
    (folder / "check.json").write_bytes(orjson.dumps(found))


def stop_by_contract(root: Path, why: str) -> None:
    """What ``data check`` leaves where a table has too many bad rows."""
    checked(root, {"bars": why})
