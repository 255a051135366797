"""Four eyes: author and approver differ, an approval is of what was read, loosening needs more."""

from __future__ import annotations

from typing import Any

import pytest

from serving.ledger import LedgerReader
from tests.models.builders import BUNDLE
from tests.service.lake import REVIEW_ON

MODEL: dict[str, Any] = {
    "kind": "model",
    "direction": "neutral",
    "reason": "yearly review passed",
    "content": {"bundle_sha256": BUNDLE.sha256, "review_on": "2026-03-01"},
}


def propose(service, body=MODEL, subject="ann", role="risk"):
    made = service.call("POST", "/v1/proposals", role, subject=subject, json=body)
    assert made.status_code == 201, made.text
    return made.json()


def approve(service, proposal, subject, **more):
    path = f"/v1/proposals/{proposal['proposal_id']}/approvals"
    body = {"content_sha256": proposal["content_sha256"]}
    return service.call("POST", path, "approver", subject=subject, json=body, **more)


def edit(service, proposal, body, subject="ann", match=None):
    path = f"/v1/proposals/{proposal['proposal_id']}"
    match = {"if-match": f'"{proposal["revision"]}"'} if match is None else match
    return service.call("PUT", path, "risk", subject=subject, json=body, headers=match)


def test_nobody_approves_their_own_proposal(service):
    mine = propose(service, subject="bob")
    refused = approve(service, mine, "bob")
    assert (refused.status_code, refused.json()["code"]) == (403, "four_eyes")


def test_nobody_approves_twice(service):
    proposal = propose(service)
    assert approve(service, proposal, "bob").json()["approvals"] == ["bob"]
    assert approve(service, proposal, "bob").json()["code"] == "four_eyes"


@pytest.mark.parametrize(("direction", "people"), [("tightens", 1), ("neutral", 2), ("loosens", 3)])
def test_the_quorum_grows_with_loosening(service, direction, people):
    proposal = propose(service, {**MODEL, "direction": direction})
    for k in range(people):
        state = approve(service, proposal, f"approver-{k}").json()
        assert state["state"] == ("approved" if k + 1 == people else "open")
    closed = approve(service, proposal, "late")
    assert (closed.status_code, closed.json()["code"]) == (409, "state_conflict")


def test_an_edit_voids_the_approvals_and_an_approval_of_the_old_content_is_refused(service):
    proposal = propose(service)
    after_one = approve(service, proposal, "bob").json()
    changed = {**MODEL, "content": {**MODEL["content"], "review_on": "2025-09-01"}}
    edited = edit(service, after_one, changed)
    assert edited.status_code == 200
    assert edited.json()["approvals"] == []
    stale = approve(service, proposal, "cid")
    assert (stale.status_code, stale.json()["code"]) == (409, "state_conflict")
    assert approve(service, edited.json(), "cid").json()["approvals"] == ["cid"]


def test_an_edit_states_the_version_that_was_read(service):
    proposal = propose(service)
    assert edit(service, proposal, MODEL, match={}).status_code == 428
    assert edit(service, proposal, MODEL).headers["etag"] == '"2"'
    assert edit(service, proposal, MODEL).status_code == 412
    other = edit(service, {**proposal, "revision": 2}, MODEL, subject="eve")
    assert other.json()["code"] == "four_eyes"


def test_an_approval_sent_again_counts_once_and_gives_the_same_answer(service):
    proposal = propose(service, {**MODEL, "direction": "loosens"})
    first = approve(service, proposal, "bob", key="approve-once")
    again = approve(service, proposal, "bob", key="approve-once")
    assert (again.status_code, again.content) == (first.status_code, first.content)


def test_a_rejected_proposal_has_no_effect_and_its_author_withdraws_it(service):
    for who, role, state in (("bob", "approver", "rejected"), ("ann", "risk", "withdrawn")):
        proposal = propose(service)
        path = f"/v1/proposals/{proposal['proposal_id']}/rejections"
        closed = service.call("POST", path, role, subject=who, json={"reason": "not now"}).json()
        assert closed["state"] == state
        assert approve(service, closed, "cid").json()["code"] == "state_conflict"


def test_a_model_is_released_by_its_last_approval_and_not_before(serve):
    service = serve({"released": False})
    content = {"bundle_sha256": BUNDLE.sha256, "review_on": REVIEW_ON.isoformat()}
    proposal = propose(service, {**MODEL, "content": content})
    approve(service, proposal, "bob")
    assert service.decide("c00").json()["outcome"] == "refer"
    approve(service, proposal, "cid")
    assert service.decide("c00").json()["outcome"] == "approve"
    [model] = service.call("GET", "/v1/models").json()["models"]
    assert model["review_on"] == REVIEW_ON.isoformat()


def test_an_approved_override_lowers_the_next_limit_and_lifting_it_needs_three(serve):
    service = serve()
    before = service.decide("c00").json()

    def override(amount, direction):
        content = {"client_id": "c00", "decision_id": before["decision_id"], "max_debt_amt": amount}
        return {"kind": "override", "direction": direction, "content": content, "reason": "watch"}

    refused = service.call("POST", "/v1/proposals", "risk", json=override("5.00", "neutral"))
    assert refused.json()["errors"][0]["pointer"] == "/direction"
    approve(service, propose(service, override("5.00", "tightens")), "bob")
    lowered = service.decide("c00").json()
    assert (lowered["max_debt_amt"], lowered["binding"]) == ("5.00", "override")
    assert lowered["supersedes"] == before["decision_id"]
    lift = propose(service, override(None, "loosens"))
    for who in ("bob", "cid", "dan"):
        approve(service, lift, who)
    assert service.decide("c00").json()["max_debt_amt"] == before["max_debt_amt"]


def test_every_act_is_an_entry_that_names_who_did_what(serve):
    service = serve()
    proposal = propose(service, {**MODEL, "direction": "tightens"})
    approve(service, proposal, "bob")
    with LedgerReader(service.ledger) as reader:
        acts = reader.latest(f"proposal_id/{proposal['proposal_id']}", 10)
        effects = reader.latest("kind/model_released", 1)
    states = [a for a in reversed(acts) if a.kind == "proposal"]
    assert [(a.body["act"], a.body["actor"]) for a in states] == [
        ("created", "ann"),
        ("approved", "bob"),
    ]
    assert effects[0].body["proposal_id"] == proposal["proposal_id"]


def test_proposals_are_listed_in_their_present_state(serve):
    service = serve()
    one, two = propose(service), propose(service, {**MODEL, "direction": "tightens"})
    approve(service, two, "bob")
    listed = service.call("GET", "/v1/proposals", "auditor").json()["proposals"]
    assert [(p["proposal_id"], p["state"]) for p in listed] == [
        (two["proposal_id"], "approved"),
        (one["proposal_id"], "open"),
    ]
    assert service.call("GET", "/v1/proposals", "service").status_code == 403
