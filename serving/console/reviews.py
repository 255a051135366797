"""The console's way to the review queue: who the visitor is there, and how the queue refuses."""

from __future__ import annotations

import datetime as dt
from typing import Any

from serving.console.frame import KEY_FIELD, Visit
from serving.ledger import KeyedRequest
from serving.review import Reviewer, ReviewStore
from serving.service.requests import idempotency_key


def store_of(visit: Visit) -> ReviewStore:
    """Look-ups in the queue."""
    return visit.service.reviews.store


def person(visit: Visit, now: dt.datetime) -> Reviewer:
    """The visitor as the queue knows them: roles from the session, the rest from the record."""
    return visit.service.reviews.person(visit.subject, visit.session.roles, now)


def keyed(visit: Visit, operation: str) -> KeyedRequest:
    """The form's own key: a form that is sent twice takes effect once."""
    key = idempotency_key(visit.form.get(KEY_FIELD))
    body = repr(sorted(visit.form.items())).encode()
    found: Any = visit.service.engine.keyed(visit.subject, f"console/{operation}", key, body)
    assert isinstance(found, KeyedRequest)
    return found


async def refuse_blind(visit: Visit, client_id: str) -> None:
    """Keep a decision from somebody who has a blind case of the client and has not said their view.

    Without it the score could be read on another page first.
    """
    await visit.service.reviews_api.refuse_blind(visit.call(), client_id)
