"""Every row of the degraded-mode table, brought about in a running service, closes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.decision import OUTCOMES
from models.conditions import CONDITIONS, Fact, settle, stability_e6
from models.reasons import CATALOGUE
from serving.ledger import Ledger
from serving.nightly.monitors import MONITORS_KIND
from serving.nightly.publishing.flow import publish_first
from serving.service.settings import ShiftedClock, utc_now
from tests.service.lake import NOW, PLAIN, REVIEW_ON, STATUSES, stop_by_contract

APPLICANT = {
    "pep": False, "sanctioned": False, "aml_level": "low", "automated_decision_refused": False,
}  # fmt: skip
GATES = {
    "kyc_missing": "kycmissing", "kyc_expired": "kycexpired", "unsuitable": "unsuitable",
    "sanctioned": "sanctioned", "aml_high": "amlhigh", "politically_exposed": "pep",
    "automated_decision_refused": "refuses", "call_open": "called", "defaulted": "defaulted",
}  # fmt: skip


def at(moment):
    return ShiftedClock(moment - utc_now())


def shifted_population():
    """Features that move every plain client to another tier than the night before."""
    return dict.fromkeys((*PLAIN, *STATUSES), (40, 0, 3, 5))


def stopped_after_publishing(root):
    publish_first(root, root / "ledger.sqlite")
    stop_by_contract(root, "bars: 12 % bad")


def red_after_publishing(root):
    """What ``gearline night monitors`` records where a monitor that fails closed is red."""
    run_id = publish_first(root, root / "ledger.sqlite")
    body = {"run_id": run_id, "worst": "red", "closes": ["missing_ratio"], "sha256": "0" * 64}
    with Ledger.open(root / "ledger.sqlite") as record:
        record.append([{"kind": MONITORS_KIND, "body": body}])


def bring_about(condition, serve):
    """A service in which a condition holds for client c00, and the answer to a request of c00."""
    if condition in GATES:
        running = serve()
        return running, running.decide(GATES[condition], "10.00")
    if condition == "duplicate_application":
        running = serve()
        assert running.decide("c00", "10.00").json()["outcome"] == "approve"
        return running, running.decide("c00", "10.00")
    if condition == "thin_file":
        running = serve()
        body = {"client_id": "new", "currency": "USD", "requested_debt_amt": "10.00"}
        return running, running.call("POST", "/v1/decisions", json={**body, "applicant": APPLICANT})
    options = {
        "out_of_domain": {"lake": {"values": {"c00": (12, 30, 1, 10**9)}}},
        "features_stale": {"now": at(dt.datetime(2024, 3, 19, 1, tzinfo=dt.UTC))},
        "model_not_released": {"lake": {"released": False}},
        "model_past_review": {"now": at(dt.datetime.combine(REVIEW_ON, dt.time(1), dt.UTC)
                                        + dt.timedelta(days=1))},
        "drift_red": {"lake": {"nights": ("night-1", "night-2"), "values": shifted_population()}},
        "contract_failed": {"change": stopped_after_publishing},
        "monitor_red": {"change": red_after_publishing},
        "drift_unknown": {},
    }[condition]  # fmt: skip
    running = serve(**options)
    if condition == "drift_unknown":
        object.__setattr__(running.app.state.service.engine.world, "drift_e6", None)
    return running, running.decide("c00", "10.00")


@pytest.fixture
def bounded(monkeypatch):
    """The hand-made bundle with bounds declared, as a real bundle has them."""
    from tests.models.builders import BUNDLE

    features = [{**f, "low": -1000, "high": 1000} for f in BUNDLE.features["features"]]
    monkeypatch.setitem(BUNDLE.features, "features", features)
    for name in ("files", "manifest", "sha256"):
        BUNDLE.__dict__.pop(name, None)
    yield
    monkeypatch.undo()
    for name in ("files", "manifest", "sha256"):
        BUNDLE.__dict__.pop(name, None)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_row_has_its_outcome_its_limit_and_its_reasons_for_their_readers(
    condition, serve, bounded
):
    row = CONDITIONS[condition]
    running, made = bring_about(condition, serve)
    assert made.status_code == 201, made.text
    document = made.json()
    assert OUTCOMES.index(document["outcome"]) >= OUTCOMES.index(row.outcome)
    assert document["stale"] is (row.limit == "published")
    shown = {r["code"] for r in document["reasons"]}
    for_client = {c for c in row.reasons if CATALOGUE[c].audience == "client"}
    assert shown & set(row.reasons) == for_client
    assert for_client, "a client is always told something"
    whole = running.call("GET", made.headers["location"], "auditor").json()
    assert set(row.reasons) <= {r["code"] for r in whole["reasons"]}
    if row.found == "service":
        assert condition in whole["conditions"]


def test_a_client_whom_compliance_stops_reads_one_neutral_text_whatever_the_cause(serve):
    running = serve()
    seen = []
    for client in ("sanctioned", "amlhigh", "pep"):
        reasons = running.decide(client, "10.00").json()["reasons"]
        seen.append([r["text"] for r in reasons if r["code"].startswith("gate_")])
    assert seen[0] == seen[1] == seen[2] == ["We cannot offer margin financing at this time."]


def test_a_stale_limit_never_exceeds_what_was_published(serve):
    running = serve(now=at(dt.datetime(2024, 3, 20, tzinfo=dt.UTC)))
    fresh = serve(now=at(NOW))
    for client in PLAIN[:3]:
        stale = running.decide(client).json()
        assert stale["outcome"] == "refer"
        assert float(stale["max_debt_amt"]) <= float(fresh.decide(client).json()["max_debt_amt"])


def test_a_client_whom_the_night_does_not_know_gets_no_decision(serve):
    running = serve()
    size = running.size
    assert running.decide("nobody").json()["code"] == "not_found"
    assert running.size == size


facts = st.lists(
    st.sampled_from([name for name, row in CONDITIONS.items() if row.found == "service"]).map(
        lambda name: Fact(name)
    ),
    unique_by=lambda fact: fact.condition,
)


@given(
    outcome=st.sampled_from(OUTCOMES),
    cap=st.integers(0, 10**9),
    published=st.none() | st.integers(0, 10**9),
    held=facts,
    more=facts,
)
def test_more_conditions_never_soften_the_outcome_nor_raise_the_limit(
    outcome, cap, published, held, more
):
    body = {"outcome": outcome, "max_debt_amt": f"{cap}.00", "reasons": []}
    amount = None if published is None else f"{published}.00"
    few, many = settle(body, held, amount), settle(body, [*held, *more], amount)
    assert OUTCOMES.index(outcome) <= OUTCOMES.index(few["outcome"])
    assert OUTCOMES.index(few["outcome"]) <= OUTCOMES.index(many["outcome"])
    assert float(many["max_debt_amt"]) <= float(few["max_debt_amt"]) <= cap
    assert few["stale"] <= many["stale"]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8))
def test_a_population_has_not_shifted_from_itself(counts):
    assert stability_e6(counts, counts) == 0


def test_the_stability_index_is_the_textbooks():
    # shares 0.5, 0.5 against 0.8, 0.2: 0.3 ln 1.6 + 0.3 ln 2.5 = 0.415888
    assert stability_e6([50, 50], [80, 20]) == 415_888


def test_the_page_holds_the_table_as_it_is():
    page = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text("utf-8")
    for row in CONDITIONS.values():
        reasons = ", ".join(f"`{c}` ({CATALOGUE[c].audience})" for c in row.reasons)
        assert f"| `{row.name}` | {row.found} | {row.outcome} | {row.limit} | {reasons} |" in page
