"""Someone without an account is decided on: tier by what is stated, limit by what is brought."""

from __future__ import annotations

import shutil
from decimal import Decimal

import pytest

from models.bundle import APPLICATION_FOLDER, Bundle
from serving.commands.service import demo_clock, release_demo_model
from serving.replay import replay_sample
from tests.service.conftest import running

APPLICANT = {
    "pep": False, "sanctioned": False, "aml_level": "low", "automated_decision_refused": False,
    "income_amt": "300000.00", "net_worth_amt": "3000000.00", "liquid_assets_amt": "300000.00",
    "initial_deposit_amt": "30000.00", "experience_months": 60, "suitability_level": 4,
    "literacy_score": 70, "bureau_status": "clear", "kyc_verified_on": "2021-10-01",
    "kyc_expires_on": "2030-01-01",
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(small_demo, tmp_path_factory):
    """The service on a copy of the demo, on the morning after its last night."""
    lake = tmp_path_factory.mktemp("desk") / "lake"
    shutil.copytree(small_demo.path, lake)
    ledger = lake / "ledger.sqlite"
    clock = demo_clock(lake, ledger)
    release_demo_model(lake, ledger, clock().date())
    with running(lake, ledger, now=clock) as found:
        yield found


def apply(desk, number, amount="5000.00", **changes):
    body = {
        "client_id": f"new-{number}",
        "currency": "USD",
        "requested_debt_amt": amount,
        "applicant": {**APPLICANT, **changes},
    }
    made = desk.call("POST", "/v1/decisions", json=body)
    assert made.status_code == 201, made.text
    return made.json()


def codes(decision):
    return {reason["code"] for reason in decision["reasons"]}


def test_a_good_applicant_who_asks_for_little_is_approved_without_a_person(desk):
    decision = apply(desk, "good")
    assert decision["outcome"] == "approve"
    assert decision["provisional"]
    assert decision["hashes"]["bundle"] == Bundle.read(desk.lake / APPLICATION_FOLDER).sha256
    assert Decimal(decision["max_debt_amt"]) >= 5000
    assert "hold_thin_file" not in codes(decision)


def test_a_thin_file_or_more_than_the_limit_goes_to_a_person(desk):
    assert "hold_thin_file" in codes(apply(desk, "thin", bureau_status="thin"))
    greedy = apply(desk, "greedy", amount="60000.00")
    assert greedy["outcome"] == "refer"
    assert "request_above_limit" in codes(greedy)


def test_a_worse_bureau_status_never_helps(desk):
    found = [
        apply(desk, f"bureau-{status}", bureau_status=status)
        for status in ("clear", "minor", "major")
    ]
    pds = [Decimal(d["pd"]["value"]) for d in found]
    assert pds == sorted(pds)
    caps = [Decimal(d["max_debt_amt"]) for d in found]
    assert caps == sorted(caps, reverse=True)


def test_who_brings_nothing_has_no_limit_and_the_rule_is_named(desk):
    decision = apply(desk, "nothing", initial_deposit_amt=None)
    assert (decision["outcome"], decision["max_debt_amt"]) == ("refer", "0.00")


def test_onboarding_decisions_replay(desk):
    apply(desk, "again")
    report = replay_sample(desk.lake, desk.ledger, 100_000, 7)
    assert report.equal == report.checked
    assert report.checked > 0
