"""The service is what its OpenAPI document says, on every operation, also for generated bodies."""

from __future__ import annotations

import pytest

from serving.service.openapi import KEYED
from tests.service.lake import PLAIN
from tests.service.test_proposals import MODEL, propose

schemathesis = pytest.importorskip("schemathesis")
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def arguments(service, operation):
    """A role, path and body with which an operation succeeds."""
    role = sorted(operation.roles)[0] if operation.roles else "service"
    path, body, headers = operation.path, None, {}
    if "decision_id" in path:
        path = service.decide(PLAIN[11]).headers["location"]
    elif "client_id" in path:
        path = f"/v1/clients/{PLAIN[12]}/limits"
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
@pytest.mark.filterwarnings("ignore")
def test_generated_requests_meet_every_check_of_the_description(service):
    """All of schemathesis' checks, signed in; positive bodies, and negative ones refused."""
    schema = schemathesis.openapi.from_url(f"{service.url}/v1/openapi.json")
    reached: dict[str, set[int]] = {}

    for operation in service.app.state.service.operations():
        role = sorted(operation.roles)[0] if operation.roles else "service"
        token = {"authorization": f"Bearer {service.token(role, 'schemathesis')}"}

        for result in schema.include(operation_id=operation.name).get_all_operations():
            run_operation(result.ok(), token, reached, operation.name)
    assert reached


def run_operation(operation, token, reached, name):
    """Generate cases of one operation and validate each answer."""
    from hypothesis import HealthCheck, Phase, given, settings

    for mode in schemathesis.GenerationMode:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=25,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=True,
        )
        def one(case):
            answer = case.call_and_validate(headers=token)
            reached.setdefault(name, set()).add(answer.status_code)

        one()
