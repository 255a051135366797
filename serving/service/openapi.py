"""The OpenAPI 3.1 document, made from the operations: no route without its description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from data_contracts.case import AML_LEVELS
from data_contracts.decision import OUTCOMES
from models.governance import DIRECTIONS, KINDS, STATES
from models.policy import PACK_NAMES
from models.reasons.catalogue import AUDIENCES
from serving.service.edge import Operation
from serving.service.identities import FIELDS, LONGEST
from serving.service.openapi_parts import (
    ASKED,
    DATE,
    DECIMAL,
    FLAG,
    HASH,
    NUMBER,
    SUBJECT,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    as_list,
    as_object,
    or_null,
    ref,
)  # fmt: skip
from serving.service.openapi_reviews import (
    REVIEW_ABOUT,
    REVIEW_KEYED,
    REVIEW_QUERIES,
    review_schemas,
)
from serving.service.problems import CODES, PROBLEM_TYPE
from serving.service.requests import BUREAU
from serving.service.settings import LARGEST_BODY_BYTES

IDENTIFIER: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": LONGEST}


def _schemas(currency: str) -> dict[str, Schema]:
    maybe_amount = or_null(ASKED)
    flag = {"type": "boolean"}
    applicant = as_object(
        {
            "pep": flag,
            "sanctioned": flag,
            "automated_decision_refused": flag,
            "aml_level": {"enum": list(AML_LEVELS)},
            "income_amt": maybe_amount,
            "net_worth_amt": maybe_amount,
            "liquid_assets_amt": maybe_amount,
            "initial_deposit_amt": maybe_amount,
            "experience_months": or_null({"type": "integer", "minimum": 0, "maximum": 1200}),
            "suitability_level": or_null({"type": "integer", "minimum": 1, "maximum": 5}),
            "literacy_score": or_null({"type": "integer", "minimum": 0, "maximum": 100}),
            "bureau_status": or_null({"enum": list(BUREAU)}),
            "kyc_verified_on": or_null(DATE),
            "kyc_expires_on": or_null(DATE),
        },
        optional=(
            "income_amt", "net_worth_amt", "liquid_assets_amt", "initial_deposit_amt",
            "experience_months", "suitability_level", "literacy_score", "bureau_status",
            "kyc_verified_on", "kyc_expires_on",
        ),
    )  # fmt: skip
    base = {"client_id": NUMBER, "currency": {"const": currency, "description": "ISO 4217"}}
    ask = {
        "anyOf": [
            as_object({**base, "requested_debt_amt": maybe_amount}, ["requested_debt_amt"]),
            as_object({**base, "requested_debt_amt": ASKED, "applicant": ref("Applicant")}),
        ]
    }
    limit = as_object({"term": TEXT, "limit_amt": or_null(DECIMAL), "removed_amt": DECIMAL})
    line = as_object({"line": TEXT, "maintenance": DECIMAL, "distance": or_null(DECIMAL)})
    reason = as_object(
        {
            "code": TEXT,
            "audience": {"enum": list(AUDIENCES)},
            "language": {"enum": ["en", "zh"], "description": "BCP 47"},
            "text": TEXT,
        }
    )
    shared: Schema = {
        "client_id": TEXT,
        "decision_id": {"type": "string", "format": "uuid"},
        "as_of": DATE,
        "effective_on": DATE,
        "currency": {"type": "string", "description": "ISO 4217"},
        "outcome": {"enum": list(OUTCOMES)},
        "tier": {"enum": ["1", "2", "3", "4", "5", "6", "7", "D"]},
        "debt_amt": DECIMAL,
        "equity_amt": DECIMAL,
        "max_debt_amt": DECIMAL,
        "max_leverage": or_null(DECIMAL),
        "stale": FLAG,
        "binding": TEXT,
        "rate_bps": WHOLE,
        "maintenance": or_null(DECIMAL),
        "lines": as_list(line),
    }
    decision = as_object(
        {
            **shared,
            "engine_version": TEXT,
            "supersedes": or_null(TEXT),
            "provisional": FLAG,
            "requested_debt_amt": or_null(DECIMAL),
            "pd": as_object({"value": DECIMAL, "low": DECIMAL, "high": DECIMAL}),
            "lgd": or_null(DECIMAL),
            "expected_loss_amt": DECIMAL,
            "cap_waterfall": as_list(limit),
            "rate_waterfall": as_list(as_object({"component": TEXT, "bps": WHOLE})),
            "reasons": as_list(reason),
            "hashes": {"type": "object", "additionalProperties": HASH},
            "decision_sha256": HASH,
            "attributions": as_object({"base": WHOLE, "values": as_list(WHOLE)}),
            "conditions": as_list(TEXT),
            "simulation": {"const": True},
            "entry": or_null(as_object({"position": WHOLE, "entry_id": TEXT, "recorded_at": TIME})),
        },
        optional=("attributions", "conditions", "simulation"),
    )
    since: Schema = {"effective_at": TIME}
    content = {
        "model": as_object({"bundle_sha256": HASH, "review_on": DATE, **since}, since),
        "override": as_object(
            {"client_id": NUMBER, "decision_id": NUMBER, "max_debt_amt": maybe_amount}
        ),
        "publication": as_object({"run_id": NUMBER, "run_sha256": HASH, "verdict_sha256": HASH}),
        "policy": as_object({"pack": {"enum": list(PACK_NAMES)}, "sha256": HASH, **since}, since),
        "erasure": as_object({"client_id": NUMBER}),
    }
    why = {"type": "string", "minLength": 1, "maxLength": 1000}
    asked = [
        as_object(
            {"kind": {"const": k}, "direction": {"enum": list(d)}, "content": c, "reason": why}
        )
        for k, c, d in (
            ("model", content["model"], DIRECTIONS),
            ("publication", content["publication"], DIRECTIONS),
            ("policy", content["policy"], DIRECTIONS),
            ("erasure", content["erasure"], ("neutral",)),
            (
                "override",
                as_object({"client_id": NUMBER, "decision_id": NUMBER, "max_debt_amt": ASKED}),
                ("tightens",),
            ),
            (
                "override",
                as_object(
                    {"client_id": NUMBER, "decision_id": NUMBER, "max_debt_amt": {"type": "null"}}
                ),
                ("loosens",),
            ),
        )
    ]
    proposal = as_object(
        {
            "proposal_id": TEXT,
            "kind": {"enum": list(KINDS)},
            "direction": {"enum": list(DIRECTIONS)},
            "content": {"type": "object"},
            "content_sha256": HASH,
            "reason": TEXT,
            "author": TEXT,
            "state": {"enum": list(STATES)},
            "approvals": as_list(TEXT),
            "quorum": WHOLE,
            "revision": WHOLE,
            "closed_by": or_null(TEXT),
        }
    )
    parameter = as_object(
        {
            "parameter": TEXT,
            "level": {"enum": ["statute", "exchange", "house"]},
            "unit": TEXT,
            "values": as_list(WHOLE),
            "since": TIME,
            "reference": TEXT,
            "verified": FLAG,
            "text": TEXT,
        }
    )
    return {
        **review_schemas(currency),
        "Ask": ask,
        "Applicant": applicant,
        "Decision": decision,
        "Limits": as_object({**shared, "source": {"enum": ["decision", "night"]}}),
        "Policy": as_object(
            {
                "pack": TEXT,
                "currency": TEXT,
                "effective_on": DATE,
                "sha256": HASH,
                "parameters": as_list(parameter),
            }
        ),
        "Models": as_object(
            {
                "engine_version": TEXT,
                "night": as_object(
                    {
                        "run_id": TEXT,
                        "as_of": DATE,
                        "effective_on": DATE,
                        "market_sha256": HASH,
                        "features_good_until": TIME,
                        "stability_index": or_null(DECIMAL),
                    }
                ),
                "models": as_list(
                    as_object(
                        {
                            "bundle_sha256": HASH,
                            "feature_set": TEXT,
                            "for": {"enum": ["clients", "applicants"]},
                            "review_on": or_null(DATE),
                        }
                    )
                ),
            }
        ),
        "ProposalAsked": {"anyOf": asked},
        "Identity": as_object(
            {name: or_null(IDENTIFIER) if name != "name" else IDENTIFIER for name in FIELDS},
            [name for name in FIELDS if name != "name"],
        ),
        "IdentityStored": as_object({"client_id": TEXT, "key_id": TEXT}),
        "IdentityRead": as_object({"client_id": TEXT, "identity": {"type": "object"}}),
        "Erased": as_object(
            {"client_id": TEXT, "key_id": TEXT, "keep_until": DATE, "overridden_by": as_list(TEXT)}
        ),
        "Approval": as_object({"content_sha256": HASH}),
        "Rejection": as_object({"reason": why}),
        "Proposal": proposal,
        "Proposals": as_object({"proposals": as_list(ref("Proposal"))}),
        "Status": {"type": "object", "properties": {"status": TEXT}, "required": ["status"]},
        "Problem": as_object(
            {
                "type": TEXT,
                "title": TEXT,
                "status": WHOLE,
                "code": {"enum": sorted(CODES)},
                "detail": TEXT,
                "errors": as_list(as_object({"pointer": TEXT, "detail": TEXT})),
            },
            optional=("errors",),
        ),
    }


_ABOUT: Final[dict[str, tuple[str, str | None, int, str]]] = {
    "createDecision": ("Decide, and keep the decision", "Ask", 201, "Decision"),
    "getDecision": ("A decision that was kept", None, 200, "Decision"),
    "getLimits": ("A client's limit, rate, lines and distances", None, 200, "Limits"),
    "createSimulation": ("Decide with the engine in production; nothing is kept", "Ask", 200,
                         "Decision"),
    "getPolicy": ("The policy in force", None, 200, "Policy"),
    "getModels": ("The models in use and the published night", None, 200, "Models"),
    "listProposals": ("Proposals, last changed first", None, 200, "Proposals"),
    "createProposal": ("Propose a change", "ProposalAsked", 201, "Proposal"),
    "getProposal": ("A proposal", None, 200, "Proposal"),
    "editProposal": ("Edit a proposal; its approvals are void", "ProposalAsked", 200, "Proposal"),
    "approveProposal": ("Approve the content that was read", "Approval", 201, "Proposal"),
    "rejectProposal": ("Close a proposal without effect", "Rejection", 201, "Proposal"),
    "putIdentity": ("Store a client's direct identifiers, encrypted", "Identity", 200,
                    "IdentityStored"),
    "getIdentity": ("A client's direct identifiers", None, 200, "IdentityRead"),
    "eraseIdentity": ("Destroy the key of a client's identifiers", "Rejection", 201, "Erased"),
    **REVIEW_ABOUT,
    "live": ("The process runs", None, 200, "Status"),
    "ready": ("A night is published and the ledger answers", None, 200, "Status"),
    "metrics": ("Prometheus metrics", None, 200, ""),
    "getOpenapi": ("This document", None, 200, ""),
}  # fmt: skip
"""Summary, schema of the body, status and schema of the answer."""

KEYED: Final = frozenset(
    {
        "createDecision", "createProposal", "editProposal", "approveProposal", "rejectProposal",
        "putIdentity", "eraseIdentity",
    }
    | REVIEW_KEYED
)  # fmt: skip
"""Operations that take an Idempotency-Key: all that leave an entry."""


def _problem(code: int) -> Schema:
    names = ", ".join(k for k, (status, _) in CODES.items() if status == code)
    return {
        "description": f"Problem: {names}",
        "content": {PROBLEM_TYPE: {"schema": ref("Problem")}},
    }


def _parameters(operation: Operation) -> list[Schema]:
    found: list[Schema] = []
    for part in operation.path.split("/"):
        if part.startswith("{"):
            name = part[1:-1]
            schema = SUBJECT if name == "reviewer" else NUMBER
            found.append({"name": name, "in": "path", "required": True, "schema": schema})
    header = {"in": "header", "schema": {"type": "string"}}
    if operation.name in KEYED:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "New for each request; with the same body the first answer returns.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        )
    if operation.name == "editProposal":
        etag = {"type": "string", "pattern": '^"[1-9][0-9]{0,8}"$'}
        found.append({"name": "If-Match", "in": "header", "required": True, "schema": etag})
    for name, schema in REVIEW_QUERIES.get(operation.name, {}).items():
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if operation.roles is not None:
        found.append({"name": "Accept-Language", "description": "zh or en", **header})
        found.append({"name": "traceparent", "description": "W3C Trace Context", **header})
    return found


def _operation(operation: Operation) -> Schema:
    summary, body, status, answer = _ABOUT[operation.name]
    content = {"application/json": {"schema": ref(answer) if answer else {"type": "object"}}}
    if operation.name == "metrics":
        content = {"text/plain": {"schema": {"type": "string"}}}
    document: Schema = {
        "operationId": operation.name,
        "summary": summary,
        "parameters": _parameters(operation),
        "responses": {str(status): {"description": summary, "content": content}},
    }
    codes = [503] if operation.name == "ready" else []
    if operation.roles is not None:
        document["security"] = [{"bearer": []}]
        document["description"] = f"Roles: {', '.join(sorted(operation.roles))}."
        codes = [401, 403, 429, 503]
        if "{" in operation.path:
            codes.append(404)
    else:
        document["security"] = []
    if body is not None:
        document["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": ref(body)}},
        }
        codes += [400, 404, 413, 415, 422]
    if operation.name in KEYED:
        codes += [409]
    if operation.name in REVIEW_QUERIES or operation.name == "getReview":
        codes += [400, 409]
    if operation.name == "getIdentity":
        codes += [409]
    if operation.name == "editProposal":
        codes += [412, 428]
    if operation.name in KEYED - {"createDecision"}:
        codes += [412]
    for code in sorted(set(codes)):
        document["responses"][str(code)] = _problem(code)
    return document


def document(operations: Iterable[Operation], currency: str) -> Schema:
    """The whole description; ``currency`` is the one that the lender lends in."""
    paths: dict[str, Schema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gearline decision service",
            "version": "1",
            "description": (
                "Money is a decimal string with its ISO 4217 currency, a rate an integer in basis"
                " points, a time RFC 3339 with offset. Errors are RFC 9457 problem documents whose"
                f" code is stable. A body has at most {LARGEST_BODY_BYTES} bytes."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(currency),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }
