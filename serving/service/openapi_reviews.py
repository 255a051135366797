"""The review queue's part of the OpenAPI document: bodies, answers, parameters of queries."""

from __future__ import annotations

from typing import Any, Final

from data_contracts.decision import OUTCOMES
from models.review import OVERRIDE_REASONS, RULES
from serving.review import CASE_KINDS, LONGEST_PAGE, STATES, TOP_LEVEL
from serving.review.store import CURSOR
from serving.service.openapi_parts import (
    ASKED,
    DATE,
    DECIMAL,
    FLAG,
    HASH,
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    as_list,
    as_object,
    or_null,
    ref,
)

_WORDS: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 2000}
_LEVEL: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": TOP_LEVEL}


def review_schemas(currency: str) -> dict[str, Schema]:
    """Schemas of bodies and answers of the queue."""
    trigger = as_object(
        {
            "rule": {"enum": list(RULES)}, "name": TEXT, "text": TEXT, "value": or_null(TEXT),
            "bound": or_null(TEXT), "unit": TEXT, "priority": WHOLE,
        }
    )  # fmt: skip
    case = {
        "case_id": TEXT, "kind": {"enum": list(CASE_KINDS)}, "state": {"enum": list(STATES)},
        "client_id": TEXT, "source": {"enum": ["night", "service"]}, "run_id": TEXT, "as_of": DATE,
        "currency": TEXT, "priority": WHOLE, "level": _LEVEL, "escalated": WHOLE,
        "opened_at": TIME, "due_at": TIME, "late": FLAG, "blind": FLAG, "withheld": FLAG,
        "holder": or_null(TEXT), "taken_at": or_null(TIME), "lease_until": or_null(TIME),
        "snoozed_until": or_null(TIME), "proposal_id": or_null(TEXT), "appeal_of": or_null(TEXT),
        "closed_at": or_null(TIME), "closed_by": or_null(TEXT), "resolution": or_null(TEXT),
        "final_outcome": or_null(TEXT), "revision": WHOLE, "decision_id": or_null(TEXT),
        "outcome": or_null({"enum": list(OUTCOMES)}), "tier": or_null(TEXT),
        "exposure_amt": or_null(DECIMAL), "max_debt_amt": or_null(DECIMAL),
        "triggers": as_list(trigger),
    }  # fmt: skip
    texts = {"type": "object", "additionalProperties": TEXT}
    act = as_object(
        {"act": TEXT, "actor": TEXT, "acted_at": TIME, "position": WHOLE, "detail": texts}
    )
    counts = dict.fromkeys(("open", "proposed", "closed", "late", "snoozed", "held", "mine"), WHOLE)
    wholes = {"type": "object", "additionalProperties": WHOLE}
    person = as_object(
        {
            "reviewer": TEXT, "level": _LEVEL,
            "authority_amt": {"type": "object", "additionalProperties": DECIMAL},
            "related_clients": as_list(TEXT), "related_groups": as_list(TEXT),
        }
    )  # fmt: skip
    related = {
        "type": "array",
        "maxItems": 200,
        "items": {"type": "string", "minLength": 1, "maxLength": 64},
    }
    return {
        "Nothing": as_object({}),
        "Words": as_object({"text": _WORDS}),
        "Snooze": as_object(
            {"hours": {"type": "integer", "minimum": 1, "maximum": 8784}, "text": _WORDS}
        ),
        "Escalation": as_object(
            {"text": _WORDS, "recommended_outcome": or_null({"enum": list(OUTCOMES)})},
            ["recommended_outcome"],
        ),
        "OwnView": as_object(
            {"outcome": {"enum": list(OUTCOMES)}, "max_debt_amt": or_null(ASKED), "text": _WORDS},
            ["max_debt_amt"],
        ),
        "Confirmation": as_object({"outcome": {"enum": ["approve", "decline"]}, "text": _WORDS}),
        "OverrideAsked": as_object(
            {
                "max_debt_amt": ASKED,
                "reason_code": {"enum": list(OVERRIDE_REASONS)},
                "expires_on": DATE,
                "text": {**_WORDS, "maxLength": 1000},
            }
        ),
        "AppealAsked": as_object({"decision_id": NUMBER, "text": _WORDS}),
        "Appeal": as_object(
            {"case_id": TEXT, "decision_id": TEXT, "opened_at": TIME, "due_at": TIME}
        ),
        "ReviewerAsked": as_object(
            {
                "level": _LEVEL,
                "authority_amt": as_object({currency: ASKED}),
                "related_clients": related,
                "related_groups": related,
            }
        ),
        "Reviewer": person,
        "Reviewers": as_object({"reviewers": as_list(person)}),
        "Review": as_object(case),
        "ReviewActed": as_object({**case, "act": TEXT, "position": WHOLE}),
        "ReviewWhole": as_object(
            {**case, "acts": as_list(act), "decision": or_null(ref("Decision"))}
        ),
        "Reviews": as_object(
            {
                "cases": as_list(ref("Review")),
                "next_cursor": or_null(TEXT),
                "counts": as_object({**counts, "by_rule": wholes}),
            }
        ),
        "ReviewRules": as_object(
            {
                "sha256": HASH,
                "rules": as_list(
                    as_object(
                        {
                            "rule": TEXT, "name": TEXT, "unit": TEXT, "bounds": texts,
                            "priority": WHOLE, "sla_hours": WHOLE, "reference": TEXT,
                        }
                    )
                ),
                "override_reasons": as_list(as_object({"code": TEXT, "side": TEXT, "text": TEXT})),
            }
        ),
        "ReviewKpis": {"type": "object"},
    }  # fmt: skip


REVIEW_ABOUT: Final[dict[str, tuple[str, str | None, int, str]]] = {
    "listReviews": ("Cases in the order in which they are due", None, 200, "Reviews"),
    "takeNextReview": ("Take the case that is due first", "Nothing", 201, "ReviewActed"),
    "getReview": ("A case with its time line and its decision", None, 200, "ReviewWhole"),
    "takeReview": ("Take one case, or renew the lease on it", "Nothing", 201, "ReviewActed"),
    "releaseReview": ("Give a case back", "Nothing", 201, "ReviewActed"),
    "noteReview": ("Write on a case", "Words", 201, "ReviewActed"),
    "snoozeReview": ("Let a case sleep", "Snooze", 201, "ReviewActed"),
    "escalateReview": ("Hand a case to the next level", "Escalation", 201, "ReviewActed"),
    "viewReview": ("Record one's own view, before the score is shown", "OwnView", 201,
                   "ReviewActed"),
    "confirmReview": ("Agree with the decision and close the case", "Confirmation", 201,
                      "ReviewActed"),
    "overrideReview": ("Propose another limit; somebody else approves it", "OverrideAsked", 201,
                       "Proposal"),
    "createAppeal": ("Appeal against a decision", "AppealAsked", 201, "Appeal"),
    "getReviewRules": ("Rules of the queue, and reasons for an override", None, 200, "ReviewRules"),
    "getReviewKpis": ("Figures of the queue and of its people", None, 200, "ReviewKpis"),
    "listReviewers": ("People of whom something was set", None, 200, "Reviewers"),
    "setReviewer": ("Set a person's level, authority and related clients", "ReviewerAsked", 200,
                    "Reviewer"),
}  # fmt: skip

REVIEW_KEYED: Final = frozenset(
    {
        "takeNextReview", "takeReview", "releaseReview", "noteReview", "snoozeReview",
        "escalateReview", "viewReview", "confirmReview", "overrideReview", "createAppeal",
        "setReviewer",
    }
)  # fmt: skip

_TRUTH: Final[Schema] = {"enum": ["true", "false"]}
REVIEW_QUERIES: Final[dict[str, dict[str, Any]]] = {
    "listReviews": {
        "state": {"enum": [*STATES, "any"]},
        "rule": {"enum": list(RULES)},
        "kind": {"enum": list(CASE_KINDS)},
        "level": {"enum": [str(k) for k in range(TOP_LEVEL + 1)]},
        "held": {"enum": ["mine"]},
        "late": _TRUTH,
        "snoozed": _TRUTH,
        "client_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "limit": {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE},
        "cursor": {"type": "string", "pattern": CURSOR},
    },
    "getReviewKpis": {"days": {"type": "integer", "minimum": 1, "maximum": 3660}},
}
"""Parameters of the query by operation; all may be left out."""
