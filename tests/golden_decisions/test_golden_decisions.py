"""1,000 decisions as they were first made: a changed byte needs a new engine version."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import orjson
import pytest

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.decision import DECISION_ENGINE_VERSION
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from models.bundle import Bundle
from models.decide import DecisionColumns, decide_columns
from models.decide.body import bodies
from models.decide.written import hashes, written
from models.policy import load_pack
from serving.nightly.segments import read_decisions, read_inputs, segment_table

GOLDEN = Path(__file__).parent.parent / "golden"
SETS = sorted(p.name for p in GOLDEN.iterdir() if (p / "set.json").is_file())
REMAKE = (
    "raise DECISION_ENGINE_VERSION in data_contracts/decision.py and run"
    " scripts/make_golden_decisions.py"
)


def decided(name: str) -> DecisionColumns:
    folder = GOLDEN / name
    described = orjson.loads((folder / "set.json").read_bytes())
    bundle = Bundle.read(GOLDEN / "bundle")
    market = MarketSnapshot.read(folder / "market")
    cases, values = read_inputs(folder, list(range(described["decisions"])))
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(c.client_id for c in cases),
        market.session,
        values,
    )
    policy = load_pack(described["policy"]).on(dt.date.fromisoformat(described["effective_on"]))
    return decide_columns(cases, frame, bundle, policy, market)


def test_the_golden_set_holds_a_thousand_decisions_of_this_engine_version():
    total = sum(read_decisions(GOLDEN / n / "decisions.parquet").num_rows for n in SETS)
    assert total == 1000
    assert (GOLDEN / "engine_version").read_text().strip() == DECISION_ENGINE_VERSION, REMAKE


@pytest.mark.parametrize("name", SETS)
def test_every_golden_decision_comes_out_byte_for_byte_as_stored(name):
    now = segment_table(decided(name))
    stored = read_decisions(GOLDEN / name / "decisions.parquet")
    assert now.schema.names == stored.schema.names, REMAKE
    for column in now.schema.names:
        was, is_now = stored[column].to_pylist(), now[column].to_pylist()
        changed = [k for k in range(len(was)) if was[k] != is_now[k]]
        assert not changed, (
            f"{len(changed)} decisions changed in {column}, first"
            f" {stored['decision_id'][changed[0]].as_py()}; {REMAKE}"
        )


@pytest.mark.parametrize("name", SETS)
def test_the_readable_bodies_hash_to_the_stored_decisions(name):
    shown = orjson.loads((GOLDEN / name / "readable.json").read_bytes())
    stored = read_decisions(GOLDEN / name / "decisions.parquet")["decision_sha256"].to_pylist()
    for body, digest in zip(shown, stored, strict=False):
        assert sha256_hex(canonical_bytes(body)) == digest.hex(), REMAKE


def test_the_golden_cases_reach_every_outcome_tier_and_binding_term_but_firm_headroom():
    outcomes, tiers, bound, codes = set(), set(), set(), set()
    for name in SETS:
        table = read_decisions(GOLDEN / name / "decisions.parquet")
        outcomes |= set(table["outcome"].to_pylist())
        tiers |= set(table["tier"].to_pylist())
        bound |= set(table["binding"].to_pylist())
        for reasons in table["reasons"].to_pylist():
            codes |= set(reasons)
    assert outcomes == {"approve", "refer", "decline"}
    assert tiers == {"1", "2", "3", "4", "5", "6", "7", "D"}
    assert {
        "statutory",
        "concentration",
        "group",
        "firm",
        "structural",
        "behavioural",
        "step",
        "override",
    } <= bound
    assert {
        "gate_sanctioned",
        "gate_aml",
        "gate_pep",
        "gate_kyc_expired",
        "request_above_limit",
    } <= codes


def test_columns_and_rows_of_a_golden_set_are_the_same_decisions():
    made = decided(SETS[0])
    first = next(iter(bodies(made)))
    assert (
        first["decision_id"]
        == read_decisions(GOLDEN / SETS[0] / "decisions.parquet")["decision_id"][0].as_py()
    )


@pytest.mark.parametrize("name", SETS)
def test_the_written_form_of_a_golden_decision_has_the_row_forms_bytes_and_hash(name):
    made = decided(name)
    documents = [document for part in written(made) for document in part]
    assert documents == [canonical_bytes(body) for body in bodies(made)]
    stored = read_decisions(GOLDEN / name / "decisions.parquet")["decision_sha256"].to_pylist()
    assert hashes(made) == hashes(made, threads=3) == stored
