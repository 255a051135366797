"""The console's way to the review queue: its desk, and who the visitor is there."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from serving.console.frame import KEY_FIELD, Visit
from serving.ledger import KeyedRequest
from serving.review import WORKERS, ReviewDesk, Reviewer, ReviewStore
from serving.service.problems import ProblemError
from serving.service.requests import idempotency_key

if TYPE_CHECKING:
    from serving.service.app import Service


@dataclass(frozen=True)
class Reviews:
    """Reads and acts of the queue."""

    store: ReviewStore
    desk: ReviewDesk


_OPEN: WeakKeyDictionary[Service, Reviews] = WeakKeyDictionary()


def reviews(service: Service) -> Reviews:
    """The queue of a service that has started."""
    if service not in _OPEN:
        store = ReviewStore(service.settings.ledger)
        _OPEN[service] = Reviews(store, ReviewDesk(service.ledger, store))
    return _OPEN[service]


def refuse_blind(visit: Visit, client_id: str) -> None:
    """Keep a decision from somebody who has a blind case of the client and has not said their view.

    Without it the score could be read on another page first.
    """
    if not visit.has(WORKERS):
        return
    if reviews(visit.service).store.blind_to(client_id, visit.subject) is not None:
        raise ProblemError("blind_first", "record your own view of the client's case first")


def person(visit: Visit, now: dt.datetime) -> Reviewer:
    """The visitor as the queue knows them: roles from the session, the rest from the record."""
    return reviews(visit.service).desk.person(visit.subject, visit.session.roles, now)


def keyed(visit: Visit, operation: str) -> KeyedRequest:
    """The form's own key: a form that is sent twice takes effect once."""
    key = idempotency_key(visit.form.get(KEY_FIELD))
    body = repr(sorted(visit.form.items())).encode()
    found: Any = visit.service.engine.keyed(visit.subject, f"console/{operation}", key, body)
    assert isinstance(found, KeyedRequest)
    return found


