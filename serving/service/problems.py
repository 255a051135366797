"""How the service says no: RFC 9457 problem documents with stable codes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson

from data_contracts.errors import InputError
from serving.review.case import QueueEmptyError, ReviewRefusedError, ReviewStateError

PROBLEM_TYPE: Final = "application/problem+json"
CODES: Final[dict[str, tuple[int, str]]] = {
    "body_not_json": (400, "The body is not JSON"),
    "query_invalid": (400, "A parameter of the query breaks a rule"),
    "header_missing": (400, "A header is missing or malformed"),
    "token_missing": (401, "Sign in with a bearer token"),
    "token_refused": (401, "The token is not accepted"),
    "role_missing": (403, "The role does not allow this"),
    "review_refused": (403, "This person may not work on this case"),
    "blind_read": (403, "Record your own view first"),
    "four_eyes": (403, "Author and approver are one person"),
    "form_refused": (403, "The form is not of this session"),
    "not_found": (404, "There is no such thing"),
    "queue_empty": (404, "Nothing waits"),
    "method_not_allowed": (405, "The method does not exist here"),
    "request_in_flight": (409, "The same request is being worked on"),
    "past_hard": (409, "The override passes a hard limit"),
    "pack_refused": (409, "The policy pack cannot come into force"),
    "bundle_refused": (409, "The model cannot come into force"),
    "state_conflict": (409, "The state does not allow this"),
    "version_conflict": (412, "It has changed since it was read"),
    "body_too_large": (413, "The body is too large"),
    "media_type": (415, "The body must be application/json"),
    "body_invalid": (422, "The body breaks a rule"),
    "idempotency_key_reused": (422, "The Idempotency-Key stands for another request"),
    "if_match_missing": (428, "State which version is changed"),
    "too_many_requests": (429, "Too many requests"),
    "internal": (500, "Something went wrong here"),
    "ledger_unavailable": (503, "Nothing can be recorded at the moment"),
    "not_ready": (503, "The service is not ready"),
}
"""Status and title of each code. A code is never renamed or reused."""


class ProblemError(Exception):
    """Carries a problem out to the edge, where it becomes the answer."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        pointer: str | None = None,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail
        self.status, self.title = CODES[code]
        self.errors = errors or (
            [] if pointer is None else [{"pointer": pointer, "detail": detail}]
        )
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The problem document; ``errors`` names each place in the body by JSON Pointer."""
        document: dict[str, Any] = {
            "type": f"urn:gearline:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        return document

    def body(self) -> bytes:
        """The document's bytes."""
        return orjson.dumps(self.document())


def of_review(error: InputError) -> ProblemError:
    """A refusal of the review queue as the problem that its caller is told."""
    if isinstance(error, QueueEmptyError):
        return ProblemError("queue_empty", str(error))
    if isinstance(error, ReviewRefusedError):
        return ProblemError("review_refused", str(error))
    if isinstance(error, ReviewStateError):
        missing = str(error).startswith(("there is no case", "there is no decision"))
        return ProblemError("not_found" if missing else "state_conflict", str(error))
    return ProblemError("body_invalid", str(error))


def of_status(status: int) -> ProblemError:
    """The problem for what routing itself refuses."""
    if status == HTTPStatus.NOT_FOUND:
        return ProblemError("not_found", "no route has this path; see /v1/openapi.json")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return ProblemError("method_not_allowed", "this path exists, the method does not")
    return ProblemError("internal", "the request failed here; the log says why")
