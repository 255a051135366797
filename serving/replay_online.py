"""Replay of decisions made one at a time: decided and settled again from what their entry holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.case import case_from_json
from data_contracts.decision import DECISION_ENGINE_VERSION, body_sha256
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL
from models.bundle import APPLICATION_FOLDER, Bundle, kept_bundle
from models.conditions import Fact, settle
from models.decide import decide_columns
from models.decide.body import bodies
from models.policy import Pack
from models.policy.kept import pack_of
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


@lru_cache(maxsize=4)
def _pack(root: Path, name: str, sha256: str) -> Pack:
    return pack_of(root, {"policy": name, "policy_sha256": sha256})


def _bundle_of(root: Path, run: Mapping[str, Any], wanted: str) -> Bundle:
    """The night's bundle, or the one that the decision names: for applicants, or released since."""
    own = _bundle(root / run["bundle_path"])
    if own.sha256 == wanted:
        return own
    with suppress(InputError):
        return _bundle(kept_bundle(root, wanted))
    # the difference is then the finding
    other = root / APPLICATION_FOLDER
    return _bundle(other) if other.is_dir() else own


def replay_entries(
    root: Path, entries: Sequence[StoredEntry], runs: Mapping[str, Mapping[str, Any]]
) -> Iterator[Outcome]:
    """Decide and settle again; ``runs`` holds the start of each night."""
    groups: dict[tuple[str, str, str], list[StoredEntry]] = {}
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
        hashes = body["decision"]["hashes"]
        key = (str(body["night"]), str(hashes["bundle"]), str(hashes["policy"]))
        groups.setdefault(key, []).append(entry)
    for (night, bundle, policy), found in groups.items():
        # an approved proposal may have brought another pack into force than the night's
        run = {**runs[night], "policy_sha256": policy}
        for start in range(0, len(found), BATCH):
            yield from _again(root, run, bundle, found[start : start + BATCH])


def _again(
    root: Path, run: Mapping[str, Any], wanted: str, entries: Sequence[StoredEntry]
) -> Iterator[Outcome]:
    stored: list[Any] = [entry.body for entry in entries]
    bundle = _bundle_of(root, run, wanted)
    market = _market(root / "runs" / str(run["run_id"]) / "market")
    pack = _pack(root, str(run["policy"]), str(run["policy_sha256"]))
    policy = pack.on(dt.date.fromisoformat(str(run["effective_on"])))
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
