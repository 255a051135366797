"""``decide CASE.json``, and the example that the demo writes for it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from data_contracts.case import Case, case_from_json, case_to_json
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.lake import write_atomically
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import LARGEST_QUANTA, NULL, IntArray, parse_day
from models.bundle import Bundle
from models.decide import decide
from models.policy import Policy, load_pack
from models.reasons import render
from serving.commands.places import BUNDLE_FOLDER, LEDGER_FILE, Answer, Stages
from serving.nightly import RunReport
from serving.nightly.segments import TIER_NAMES, read_decisions, read_inputs
from serving.replay import replay_one

EXAMPLE_TIERS: Final = ("5", "6", "4", "7", "3", "2", "1", "D")
"""Tiers in the order in which they make a telling example."""
FIELDS: Final = ("policy", "effective_on", "bundle", "market", "case", "features")


def _example(run: RunReport) -> tuple[str, Path, int]:
    """A telling decision: approved, in debt, of a middling tier; its id, segment and row."""
    names = ["decision_id", "tier", "outcome", "maintenance_e6"]
    found: list[tuple[bool, int, str, Path, int]] = []
    for path in run.segments:
        table = read_decisions(path, names)
        columns = [table[name].to_pylist() for name in names]
        for row, (decision, tier, outcome, maintenance) in enumerate(zip(*columns, strict=True)):
            plain = outcome != "approve" or maintenance is None
            found.append((plain, EXAMPLE_TIERS.index(tier), decision, path, row))
    if not found:
        raise InputError(f"run {run.run_id} decided on no client; take a session with accounts")
    _, _, decision, path, row = min(found)
    return decision, path, row


def example_body(root: Path, run: RunReport) -> dict[str, Any]:
    """The body of a telling decision of a run."""
    return replay_one(root, root / LEDGER_FILE, _example(run)[0])[1]


def write_case_file(root: Path, run: RunReport) -> Path:
    """An example for ``gearline decide``: the telling decision's inputs, with paths beside it."""
    _, path, row = _example(run)
    cases, values = read_inputs(path.parent, [row])
    bundle = Bundle.read(root / BUNDLE_FOLDER)
    table = read_decisions(path, ["effective_on"])
    document = {
        "policy": "us" if cases[0].currency == "USD" else "cn",
        "effective_on": table["effective_on"][row].as_py().isoformat(),
        "bundle": BUNDLE_FOLDER,
        "market": str((path.parent.parent / "market").relative_to(root)),
        "case": case_to_json(cases[0]),
        "features": {
            name: None if v == NULL else int(v)
            for name, v in zip(bundle.names, values[0].tolist(), strict=True)
        },
    }
    target = root / "case.json"
    write_atomically(target, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return target


def read_case_file(path: Path) -> dict[str, Any]:
    """A case file as a JSON object with every field, or one clear error."""
    if not path.is_file():
        raise InputError(f"there is no case file {path}; the demo writes an example, case.json")
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} must hold a JSON object")
    for name in FIELDS:
        if name not in document:
            raise InputError(f"{path}: {name!r} is missing; a case file has {', '.join(FIELDS)}")
    for name in ("policy", "effective_on", "bundle", "market"):
        if not isinstance(document[name], str):
            raise InputError(f"{path}: {name!r} is {document[name]!r}; it must be a string")
    return document


def _feature_values(path: Path, given: Any, bundle: Bundle) -> IntArray:
    """The case file's features as one row in set order."""
    if not isinstance(given, dict):
        raise InputError(f"{path}: 'features' must be an object of name and integer or null")
    for name in bundle.names:
        if name not in given:
            raise InputError(
                f"{path}: feature {name!r} is missing; write null where it is undefined"
            )
    for name, value in given.items():
        if name not in bundle.names:
            raise InputError(
                f"{path}: {name!r} is no feature of {bundle.features['feature_set']};"
                " docs/features.md lists them"
            )
        if value is not None and (type(value) is not int or abs(value) >= LARGEST_QUANTA):
            raise InputError(
                f"{path}: feature {name!r} is {value!r}; it must be null or an integer in the unit"
                " of its declaration (docs/features.md)"
            )
    row = [NULL if given[n] is None else given[n] for n in bundle.names]
    return np.array([row], dtype=np.int64)


@dataclass(frozen=True)
class Inputs:
    """The five inputs of a decision, as a case file names them."""

    case: Case
    features: FeatureFrame
    bundle: Bundle
    policy: Policy
    market: MarketSnapshot

    def changed(self, case: Case, market: MarketSnapshot) -> Inputs:
        """The same bundle, policy and features with another case and market."""
        return replace(self, case=case, market=market)


def read_inputs_of_case(path: Path) -> Inputs:
    """The inputs that a case file holds or names."""
    document = read_case_file(path)
    bundle = Bundle.read(path.parent / document["bundle"])
    market = MarketSnapshot.read(path.parent / document["market"])
    case = case_from_json(document["case"])
    effective_on = parse_day(document["effective_on"], f"{path}: 'effective_on'")
    policy = load_pack(document["policy"]).on(effective_on)
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        (case.client_id,),
        market.session,
        _feature_values(path, document["features"], bundle),
    )
    return Inputs(case, frame, bundle, policy, market)


def run_decide(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``decide CASE.json``."""
    i = read_inputs_of_case(arguments.case)
    decision = decide(i.case, i.features, i.bundle, i.policy, i.market)
    text = _decision_text(decision.body, i.bundle)
    return 0, {**decision.body, "decision_sha256": decision.sha256}, text


def _decision_text(body: dict[str, Any], bundle: Bundle) -> str:
    """A decision for a person: outcome, cap, rate, and the reasons a client may read."""
    names = {f["name"]: f["en"] for f in bundle.features["features"]}
    pd = body["pd"]
    lines = [
        f"{body['outcome'].upper()}  tier {body['tier']} of {len(TIER_NAMES) - 1}"
        f"  PD {pd['value'] / 1e7:.2f} % ({pd['low'] / 1e7:.2f} to {pd['high'] / 1e7:.2f})",
        f"most debt {body['max_debt_amt']} {body['currency']}, bound by {body['binding']};"
        f" rate {body['rate_bps']} bps; effective {body['effective_on']}",
        "",
    ]
    first, *others = body["cap_waterfall"]
    lines.append(f"cap:  {first['term']:<14}{first['limit_amt'] or 'no limit':>18}")
    for term in others:
        if term["removed_amt"] != "0.00":
            lines.append(f"      {term['term']:<14}{'-' + term['removed_amt']:>18}")
    lines.append(f"      {'= cap':<14}{body['max_debt_amt']:>18}")
    parts = [f"{c['component']} {c['bps']}" for c in body["rate_waterfall"] if c["bps"]]
    lines += ["rate: " + " + ".join(parts), "", "reasons for the client:"]
    for reason in body["reasons"]:
        text = render(reason, "en", "client", names)
        if text is not None:
            lines.append(f"  - {text}")
    return "\n".join(lines)
