"""A decision is explained, kept, found again, and made once for one request."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serving.ledger import Ledger, LedgerReader, read_entries, verify
from serving.nightly.publishing.flow import publish_run
from serving.replay import replay_sample
from serving.review.rows import OPENED_KIND
from serving.service.answers import DECISION_KIND
from serving.service.requests import language
from tests.service.conftest import running
from tests.service.lake import PLAIN, add_night

APPLICANT = {
    "pep": False, "sanctioned": False, "aml_level": "low", "automated_decision_refused": False,
    "income_amt": "50000.00", "suitability_level": 4, "kyc_expires_on": "2030-01-01",
}  # fmt: skip


def test_a_decision_states_limit_rate_lines_and_reasons_in_the_callers_language(service):
    made = service.decide("c00", "1000.00", headers={"accept-language": "zh-Hans-CN, en;q=0.5"})
    assert made.status_code == 201
    document = made.json()
    assert document["outcome"] == "approve"
    assert document["requested_debt_amt"] == "1000.00"
    assert document["currency"] == "USD"
    assert type(document["rate_bps"]) is int
    assert [line["line"] for line in document["lines"]]
    assert {reason["language"] for reason in document["reasons"]} == {"zh"}
    assert made.headers["content-language"] == "zh"
    removed = sum(float(term["removed_amt"]) for term in document["cap_waterfall"])
    first = float(document["cap_waterfall"][0]["limit_amt"])
    assert first - removed == pytest.approx(float(document["max_debt_amt"]))
    assert sum(part["bps"] for part in document["rate_waterfall"]) == document["rate_bps"]


def test_what_was_decided_is_found_again_by_its_number(service):
    made = service.decide("c01", "1000.00")
    again = service.call("GET", made.headers["location"])
    assert again.json() == made.json()
    limits = service.call("GET", "/v1/clients/c01/limits").json()
    assert limits["decision_id"] == made.json()["decision_id"]
    assert limits["max_debt_amt"] == made.json()["max_debt_amt"]
    assert limits["source"] == "decision"


def test_before_any_decision_here_the_limits_are_the_nights(service):
    limits = service.call("GET", "/v1/clients/c19/limits").json()
    assert limits["source"] == "night"
    made = service.decide("c19").json()
    assert made["max_debt_amt"] == limits["max_debt_amt"]
    assert made["rate_bps"] == limits["rate_bps"]


def test_a_simulation_is_the_same_decision_and_leaves_nothing(service):
    before = service.size
    body = {"client_id": "c02", "currency": "USD", "requested_debt_amt": "5.00"}
    simulated = service.call("POST", "/v1/simulations", "reviewer", json=body).json()
    assert service.size == before
    made = service.decide("c02", "5.00").json()
    assert service.size == before + 1
    assert simulated["simulation"]
    for name in ("outcome", "max_debt_amt", "rate_bps", "cap_waterfall", "pd"):
        assert simulated[name] == made[name]


def test_an_applicant_is_decided_on_provisionally_and_by_a_person(service):
    body = {"client_id": "new1", "currency": "USD", "requested_debt_amt": "100.00"}
    made = service.call("POST", "/v1/decisions", json={**body, "applicant": APPLICANT})
    assert made.status_code == 201
    assert made.json()["provisional"]
    assert made.json()["outcome"] == "refer"
    assert "hold_thin_file" in {r["code"] for r in made.json()["reasons"]}


def test_a_new_night_of_another_process_comes_into_force_without_a_restart(serve, monkeypatch):
    monkeypatch.setattr("serving.service.app.REFRESH_SECONDS", 0.05)
    service = serve()
    before = service.decide("c00").json()
    with Ledger.open(service.ledger) as record:
        add_night(service.lake, record, "night-2", {"c00": (40, 0, 3, 5)})
    assert publish_run(service.lake, service.ledger).state == "published"
    limit = time.monotonic() + 20
    while service.client.get("/readyz").json()["night"] != "night-2":
        assert time.monotonic() < limit
        time.sleep(0.05)
    after = service.decide("c00").json()
    assert after["hashes"]["features"] != before["hashes"]["features"]
    report = replay_sample(service.lake, service.ledger, 1000, 7)
    assert report.equal == report.checked


# --- idempotency --------------------------------------------------------------------------------


def test_the_same_key_and_body_give_the_same_bytes_and_one_entry(service):
    first = service.decide("c03", "10.00", key="once")
    size = service.size
    again = service.decide("c03", "10.00", key="once")
    assert (again.status_code, again.content) == (201, first.content)
    assert service.size == size


def test_the_same_key_with_another_body_is_refused_and_leaves_nothing(service):
    service.decide("c04", "10.00", key="reused")
    size = service.size
    other = service.decide("c04", "11.00", key="reused")
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert service.size == size


def test_one_callers_key_is_not_anothers(service):
    one = service.decide("c05", key="shared", subject="one").json()
    other = service.decide("c05", key="shared", subject="other").json()
    assert one["decision_id"] != other["decision_id"]


def test_many_at_once_with_one_key_get_one_decision_or_are_told_it_is_in_flight(service):
    size = service.size
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.decide("c06", key="many"), range(16)))
    made = [a for a in answers if a.status_code == 201]
    assert made
    assert len({a.content for a in made}) == 1
    waiting = [a for a in answers if a.status_code != 201]
    assert all((a.status_code, a.json()["code"]) == (409, "request_in_flight") for a in waiting)
    assert all(a.headers["retry-after"] for a in waiting)
    assert service.size == size + 1


def test_an_answer_survives_a_restart(service):
    first = service.decide("c07", key="restart")
    with running(service.lake, service.ledger) as other:
        again = other.decide("c07", key="restart")
    assert again.content == first.content


def test_decisions_at_once_are_each_kept_and_the_ledger_verifies(service):
    def one(k):
        return service.decide(PLAIN[k % len(PLAIN)], f"{k}.00", key=f"burst-{k}")

    size = service.size
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, range(200)))
    assert {a.status_code for a in answers} == {201}
    places = {a.json()["entry"]["position"] for a in answers}
    # a case for a person is an entry beside its decision: a second application within a day, and
    # of the others whichever is drawn for quality control
    entries = [e for e in read_entries(service.ledger) if e.position >= size]
    assert len(places) == 200
    assert places == {e.position for e in entries if e.kind == DECISION_KIND}
    beside = [e for e in entries if e.kind != DECISION_KIND]
    assert {e.kind for e in beside} == {OPENED_KIND}
    assert len(beside) >= sum(a.json()["outcome"] == "refer" for a in answers)
    assert verify(service.ledger, base_dir=service.lake).ok


def test_the_entry_holds_what_the_decision_is_made_from(service):
    made = service.decide("c08", "10.00").json()
    with LedgerReader(service.ledger) as reader:
        entry = reader.entry(made["entry"]["position"])
    assert entry.body["decision_sha256"] == made["decision_sha256"]
    case: Any = entry.body["case"]
    assert case["client_id"] == "c08"
    assert entry.body["features"] == [12, 30, 1, 0]
    assert entry.body["night"] == "night-1"


# --- health and description ---------------------------------------------------------------------


def test_health_is_told_without_signing_in(service):
    for path in ("/livez", "/readyz", "/metrics", "/v1/openapi.json"):
        assert service.client.get(path).status_code == 200


def test_metrics_are_in_base_units_and_name_no_client(service):
    service.decide("c09", subject="an-operator")
    text = service.client.get("/metrics").text
    assert 'gearline_decisions_total{outcome="approve"}' in text
    assert "gearline_http_request_duration_seconds_bucket" in text
    assert "c09" not in text
    assert "an-operator" not in text


def test_a_trace_is_carried_on_and_a_malformed_one_replaced(service):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answered = service.client.get("/livez", headers={"traceparent": trace}).headers["traceparent"]
    assert answered.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert answered != trace
    made = service.client.get("/livez", headers={"traceparent": "nonsense"}).headers["traceparent"]
    assert len(made) == 55


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "en"), ("zh", "zh"), ("zh-TW;q=0.4,en;q=0.6", "en"), ("fr, zh;q=0.1", "zh"),
        ("en;q=0,zh;q=0.001", "zh"), ("*", "en"), ("zh;q=x", "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_best_that_there_is(accept, expected):
    assert language(accept) == expected


LOADED = """
import sys
import serving.service.app, serving.service.openapi, serving.commands.service
import models.decide, serving.ledger
bad = {"lightgbm", "shap", "sklearn", "mlflow", "pandas"}
print(sorted(bad & {name.partition(".")[0] for name in sys.modules}))
"""


def test_the_decision_path_loads_no_training_library():
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
