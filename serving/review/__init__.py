"""The review queue: decisions that a person looks at, who works on them, what they did.

Cases lie in the ledger's database; every change is an entry and commits with it. Why a decision is
in the queue follows from ``models.review`` (dated rules). Public names, which stay:

``ReviewStore(where)`` reads (own connection, shared between threads): ``page(reader, now, only,
limit=, cursor=) -> CasePage``, ``case(case_id, reader)``, ``timeline(case_id) -> [ReviewAct]``,
``cases_of_client``, ``cases_of_decision``, ``counts(reader, now)``, ``has_view``, ``blind_to``,
``reviewer``, ``reviewers``, ``acts(since, until)``.

``ReviewDesk(ledger, store)`` writes, blocking: ``person(subject, roles, now) -> Reviewer``,
``next``, ``take`` (also renews), ``release``, ``note``, ``snooze``, ``escalate``, ``view``,
``confirm``, ``appeal``, ``set_reviewer``, ``open_run``; each answers a ``Done(act, case, detail,
position, repeated)`` and takes ``keyed`` (a ``KeyedRequest``) to take effect once.

``decided.decision_entry(root, reader, case)`` is the decision that a case is about, whole;
``kpi.review_kpis(store, who, since, now, policy)`` the figures; ``export.export_reviews`` writes
the lake's ``reviews``. An override is proposed and approved in ``serving.service.overrides``. In a
service ``service.reviews`` is its desk, ``service.reviews_api`` the routes.

Data: ``ReviewCase``, ``ReviewAct``, ``Reviewer``, ``CaseFilter``, ``CasePage``, ``Done``. Refusals:
``ReviewStateError`` (the state does not allow it), ``ReviewRefusedError`` (this person may not),
``QueueEmptyError``; all are ``InputError``. Texts: ``models.review.trigger_text``,
``models.review.RULES`` and ``models.review.OVERRIDE_REASONS`` hold both languages.
"""

from serving.review.case import (
    CASE_KINDS,
    RESOLUTIONS,
    STATES,
    TOP_LEVEL,
    CaseFilter,
    CasePage,
    QueueEmptyError,
    ReviewAct,
    ReviewCase,
    Reviewer,
    ReviewRefusedError,
    ReviewStateError,
    instant,
)
from serving.review.desk import WORKERS, Done, ReviewDesk
from serving.review.night import OpenReport, open_run
from serving.review.opening import entry_case, open_with
from serving.review.store import LONGEST_PAGE, ReviewStore

__all__ = [
    "CASE_KINDS",
    "LONGEST_PAGE",
    "RESOLUTIONS",
    "STATES",
    "TOP_LEVEL",
    "WORKERS",
    "CaseFilter",
    "CasePage",
    "Done",
    "OpenReport",
    "QueueEmptyError",
    "ReviewAct",
    "ReviewCase",
    "ReviewDesk",
    "ReviewRefusedError",
    "ReviewStateError",
    "ReviewStore",
    "Reviewer",
    "entry_case",
    "instant",
    "open_run",
    "open_with",
]
