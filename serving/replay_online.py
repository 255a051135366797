"""Replay of decisions made one at a time: decided and settled again from what their entry holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.case import case_from_json
from data_contracts.decision import DECISION_ENGINE_VERSION, body_sha256
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL
from models.bundle import APPLICATION_FOLDER, Bundle
from models.conditions import Fact, settle
from models.decide import decide_columns
from models.decide.body import bodies
from models.policy import load_pack
from serving.ledger import StoredEntry

BATCH: Final = 256
"""Decisions that are decided again at once; a decision depends on no other."""

Outcome = tuple[str, list[str], dict[str, Any]]
"""A decision's number, what differs, and the body as it comes out now."""


@lru_cache(maxsize=4)
def _bundle(folder: Path) -> Bundle:
    return Bundle.read(folder, verify=False)


@lru_cache(maxsize=4)
def _market(folder: Path) -> MarketSnapshot:
    return MarketSnapshot.read(folder, verify=False)


def _bundle_of(root: Path, run: Mapping[str, Any], wanted: str) -> Bundle:
    """The night's bundle, or the one for applicants where the decision names that."""
    own = _bundle(root / run["bundle_path"])
    other = root / APPLICATION_FOLDER
    if own.sha256 != wanted and other.is_dir():
        return _bundle(other)
    return own


def replay_entries(
    root: Path, entries: Sequence[StoredEntry], runs: Mapping[str, Mapping[str, Any]]
) -> Iterator[Outcome]:
    """Decide and settle again; ``runs`` holds the start of each night."""
    groups: dict[tuple[str, str], list[StoredEntry]] = {}
    for entry in entries:
        body: Any = entry.body
        made_by = body["decision"]["engine_version"]
        if made_by != DECISION_ENGINE_VERSION:
            what = (
                f"was decided by engine {made_by}, this is engine {DECISION_ENGINE_VERSION};"
                " replay it with a release of that engine"
            )
            yield body["decision_id"], [what], {}
            continue
        key = (str(body["night"]), str(body["decision"]["hashes"]["bundle"]))
        groups.setdefault(key, []).append(entry)
    for (night, bundle), found in groups.items():
        for start in range(0, len(found), BATCH):
            yield from _again(root, runs[night], bundle, found[start : start + BATCH])


def _again(
    root: Path, run: Mapping[str, Any], wanted: str, entries: Sequence[StoredEntry]
) -> Iterator[Outcome]:
    stored: list[Any] = [entry.body for entry in entries]
    bundle = _bundle_of(root, run, wanted)
    market = _market(root / "runs" / str(run["run_id"]) / "market")
    policy = load_pack(str(run["policy"])).on(dt.date.fromisoformat(str(run["effective_on"])))
    cases = [case_from_json(body["case"]) for body in stored]
    values = np.array(
        [[NULL if v is None else v for v in body["features"]] for body in stored], dtype=np.int64
    )
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(c.client_id for c in cases),
        market.session,
        values,
    )
    made = bodies(decide_columns(cases, frame, bundle, policy, market))
    for body, now in zip(stored, made, strict=True):
        causes = [f"differs in {name}" for name in now if body["decision"].get(name) != now[name]]
        if not causes and body_sha256(now).hex() != body["decision_sha256"]:
            causes.append("its hash is not that of its body")
        facts = [Fact.from_json(fact) for fact in body["facts"]]
        if settle(now, facts, body["published_amt"]) != body["settled"]:
            causes.append("is settled otherwise")
        yield body["decision_id"], causes, now
