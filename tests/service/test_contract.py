"""The service is what its OpenAPI document says, on every operation, also for generated bodies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jwt
import pytest

from serving.service.openapi import KEYED
from serving.service.tokens import ROLES, _local_key
from tests.service.lake import PLAIN
from tests.service.test_proposals import MODEL, propose

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def all_roles(service):
    """A token with every role at once, so that one run reaches every operation."""
    claims = {
        "iss": "gearline-local", "aud": "gearline", "sub": "schemathesis", "roles": list(ROLES),
        "exp": time.time() + 3600,
    }  # fmt: skip
    return jwt.encode(claims, _local_key(service.lake, create=False), algorithm="EdDSA")


OF_REVIEWS: dict[str, Any] = {
    "takeNextReview": {},
    "takeReview": {},
    "releaseReview": {},
    "noteReview": {"text": "seen"},
    "snoozeReview": {"hours": 2, "text": "waits for documents"},
    "escalateReview": {"text": "beyond me", "recommended_outcome": "decline"},
    "viewReview": {"outcome": "decline", "max_debt_amt": "1.00", "text": "thin"},
    "confirmReview": {"outcome": "approve", "text": "as it is"},
    "overrideReview": {
        "max_debt_amt": "1.00", "reason_code": "adverse_news", "expires_on": "2024-05-01",
        "text": "litigation",
    },
}  # fmt: skip


def open_case(service):
    """The number of an appeal's case that is not read blind, on a decision of its own."""
    while True:
        decided = service.decide(PLAIN[14]).json()["decision_id"]
        body = {"decision_id": decided, "text": "the client disagrees"}
        made = service.call("POST", "/v1/appeals", "service", json=body).json()["case_id"]
        shown = service.call("GET", f"/v1/reviews/{made}", "auditor").json()
        if not shown["blind"]:
            return made


def arguments(service, operation):
    """A role, path and body with which an operation succeeds."""
    role = sorted(operation.roles)[0] if operation.roles else "service"
    path = operation.path
    body: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    if "decision_id" in path:
        path = service.decide(PLAIN[11]).headers["location"]
    elif "client_id" in path:
        path = f"/v1/clients/{PLAIN[12]}/limits"
    elif "case_id" in path or operation.name == "takeNextReview":
        case_id = open_case(service)
        path = path.replace("{case_id}", case_id)
        body = OF_REVIEWS.get(operation.name)
        if operation.name not in ("takeReview", "takeNextReview", "getReview"):
            service.call("POST", f"/v1/reviews/{case_id}/leases", "reviewer", json={})
    elif operation.name == "createAppeal":
        decided = service.decide(PLAIN[13]).json()["decision_id"]
        body = {"decision_id": decided, "text": "the client disagrees"}
    elif "{reviewer}" in path:
        path = path.replace("{reviewer}", "zoe")
        body = {
            "level": 1, "authority_amt": {"USD": "10.00"}, "related_clients": [],
            "related_groups": ["g1"],
        }  # fmt: skip
    elif "proposal_id" in path:
        proposal = propose(service)
        path = path.replace("{proposal_id}", proposal["proposal_id"])
        body = {"reason": "not now"}
        if operation.name == "approveProposal":
            body = {"content_sha256": proposal["content_sha256"]}
        elif operation.name == "editProposal":
            body, headers = MODEL, {"if-match": '"1"'}
            role = "risk"
    if operation.name == "createProposal":
        body = MODEL
    elif operation.name in ("createDecision", "createSimulation"):
        body = {"client_id": PLAIN[10], "currency": "USD", "requested_debt_amt": "1.00"}
    subject = "ann" if operation.name == "editProposal" else "somebody"
    return role, path, body, headers, subject


def test_every_operation_is_described_and_reaches_success_and_unsafe_ones_leave_an_entry(service):
    described = service.client.get("/v1/openapi.json").json()
    operations = service.app.state.service.operations()
    listed = {
        (method.upper(), path) for path, item in described["paths"].items() for method in item
    }
    assert listed == {(o.method, o.path) for o in operations}
    for operation in operations:
        role, path, body, headers, subject = arguments(service, operation)
        size = service.size
        answer = service.call(
            operation.method, path, role, subject=subject, json=body, headers=headers
        )
        assert answer.status_code in (200, 201), (operation.name, answer.text)
        left = service.size - size
        # a simulation is a POST because it has a body; by its promise it leaves nothing
        unsafe = operation.method in UNSAFE and operation.name != "createSimulation"
        assert (left >= 1) is unsafe, (operation.name, left)
        assert (operation.name in KEYED) is unsafe


@pytest.mark.long
@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_generated_requests_meet_every_check_of_the_description(service, tmp_path):
    """schemathesis with all its checks, signed in: positive and negative bodies, and sequences."""
    size = service.size
    config = tmp_path / "schemathesis.toml"
    # an If-Match of another version is well formed, and rightly refused with 412
    config.write_text(
        "[checks.positive_data_acceptance]\n"
        'expected-statuses = ["2xx", 401, 403, 404, 409, 412, 429]\n'
        # a missing If-Match is 428 Precondition Required (RFC 6585)
        "[checks.missing_required_header]\n"
        "expected-statuses = [400, 401, 403, 406, 415, 422, 428]\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"{service.url}/v1/openapi.json"),
            *("--checks", "all", "--max-examples", "40", "--seed", "7", "--workers", "1"),
            *("--header", f"Authorization: Bearer {all_roles(service)}"),
            *("--generation-database", "none", "--report", "ndjson"),
            *("--report-dir", str(tmp_path), "--no-color"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": path},
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert service.size > size
    assert service.client.get("/readyz").status_code == 200
