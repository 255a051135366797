"""Identifiers over HTTP: stored and erased on record, and never in an entry, a log or a problem."""

from __future__ import annotations

import itertools
import logging

import pytest

from serving.identities import STORE_FILE
from serving.ledger import LedgerReader, verify
from tests.service.lake import PLAIN
from tests.service.test_proposals import approve, propose

PERSON = {"name": "Anna Beispiel 王", "document_type": "passport", "document_number": "P1234567"}
_NUMBER = itertools.count()


@pytest.fixture
def someone():
    """A client number that nobody has used."""
    return f"someone-{next(_NUMBER)}"


def stored(service, client, person=PERSON, **more):
    return service.call("PUT", f"/v1/clients/{client}/identity", "admin", json=person, **more)


def read(service, client, role="admin"):
    return service.call("GET", f"/v1/clients/{client}/identity", role)


def erase(service, client, subject="officer", **more):
    path, body = f"/v1/clients/{client}/erasures", {"reason": "asked by the client"}
    return service.call("POST", path, "admin", subject=subject, json=body, **more)


def erasure_proposal(client, direction="neutral"):
    return {
        "kind": "erasure",
        "direction": direction,
        "reason": "a court ordered it",
        "content": {"client_id": client},
    }


def agreed_erasure(service, client, people=("bob", "cid")):
    proposal = propose(service, erasure_proposal(client))
    for who in people:
        proposal = approve(service, proposal, who).json()
    return proposal


def test_an_identity_comes_back_and_its_entry_names_no_one(service, someone):
    size = service.size
    assert stored(service, someone).status_code == 200
    assert read(service, someone).json()["identity"] == PERSON
    with LedgerReader(service.ledger) as reader:
        entry = reader.entry(size)
    assert (entry.kind, entry.body["client_id"]) == ("identity_stored", someone)
    assert "Anna" not in str(entry.body)
    assert "P1234567" not in str(entry.body)


def test_a_number_that_no_client_can_have_is_refused_and_stores_nothing(service):
    size = service.size
    for path in ("%C2%84", "-a", "a" * 65):
        assert stored(service, path).status_code == 404
        assert read(service, path).status_code == 404
    assert service.size == size


def test_who_is_neither_the_onboarding_system_nor_its_administrator_reads_nobody(service, someone):
    stored(service, someone)
    for role in ("reviewer", "approver", "risk", "validator", "auditor"):
        assert read(service, someone, role).status_code == 403
    assert read(service, someone, "service").status_code == 200


def test_a_problem_about_an_identity_repeats_nothing_of_it(service, someone, caplog):
    with caplog.at_level(logging.DEBUG):
        wrong = stored(service, someone, {**PERSON, "shoe_size": "P1234567", "email": ""})
    assert wrong.status_code == 422
    assert [e["pointer"] for e in wrong.json()["errors"]] == ["/email", "/shoe_size"]
    assert "P1234567" not in wrong.text
    assert "P1234567" not in caplog.text
    assert read(service, someone).status_code == 404


def test_while_retention_runs_an_erasure_names_the_day_and_needs_two_others(service, someone):
    stored(service, someone)
    refused = erase(service, someone)
    assert (refused.status_code, refused.json()["code"]) == (409, "state_conflict")
    assert "two people" in refused.json()["detail"] or "2 people" in refused.json()["detail"]
    assert "proposal of kind erasure" in refused.json()["detail"]
    agreed_erasure(service, someone, people=("bob",))
    assert erase(service, someone).status_code == 409
    # one of the two is the one who asks: that leaves one other
    agreed_erasure(service, someone, people=("officer", "cid"))
    assert erase(service, someone).status_code == 409
    agreed_erasure(service, someone, people=("bob", "cid"))
    erased = erase(service, someone)
    assert erased.status_code == 201
    assert erased.json()["overridden_by"] == ["bob", "cid", "officer"]


def test_an_erasure_is_only_ever_neutral(service, someone):
    body = erasure_proposal(someone, "tightens")
    refused = service.call("POST", "/v1/proposals", "risk", subject="ann", json=body)
    assert refused.status_code == 422
    assert "two people must agree" in refused.text


def test_after_an_erasure_nobody_reads_or_stores_and_a_repeat_changes_nothing(service, someone):
    stored(service, someone)
    agreed_erasure(service, someone)
    first = erase(service, someone, key=f"once-{someone}")
    assert first.status_code == 201
    size = service.size
    again = erase(service, someone, key=f"once-{someone}")
    assert (again.status_code, again.content) == (201, first.content)
    assert erase(service, someone).status_code == 409
    assert read(service, someone).status_code == 409
    assert stored(service, someone).status_code == 409
    assert service.size == size
    assert verify(service.ledger, base_dir=service.lake).ok


def test_a_client_of_the_published_night_is_kept_for_the_whole_retention(service):
    client = PLAIN[5]
    stored(service, client)
    assert "until 2044-03-18" in erase(service, client).json()["detail"]


def test_an_erasure_broken_off_after_its_entry_is_finished_at_the_next_start(serve, monkeypatch):
    first = serve()
    stored(first, "someone")
    agreed_erasure(first, "someone")

    def gone(self, key_id):
        raise SystemError("the process ends here")

    from serving.identities import Identities

    with monkeypatch.context() as dying:
        dying.setattr(Identities, "destroy", gone)
        assert erase(first, "someone").status_code == 500
    assert read(first, "someone").status_code == 200
    state = first.app.state.service
    assert (first.lake / STORE_FILE).exists()
    from serving.service.identities import finish_erasures

    assert finish_erasures(state) == 1
    assert finish_erasures(state) == 0
    assert read(first, "someone").status_code == 409
