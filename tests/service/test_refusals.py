"""What is refused: with a problem document, a stable code, and nothing written."""

from __future__ import annotations

import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from data_contracts.errors import InputError
from serving.service.problems import CODES
from serving.service.settings import Settings
from serving.service.tokens import ROLES, Verifier, mint

GOOD = {"client_id": "c00", "currency": "USD", "requested_debt_amt": "10.00"}


def refused(service, status, code, answer):
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    document = answer.json()
    assert document["code"] == code
    assert document["status"] == status
    assert document["type"] == f"urn:gearline:problem:{code}"
    assert document["detail"]
    return document


HOSTILE = {
    "not an object": ("[]", ""),
    "a number for a client": ({**GOOD, "client_id": 7}, "/client_id"),
    "a null client": ({**GOOD, "client_id": None}, "/client_id"),
    "SQL": ({**GOOD, "client_id": "c00' OR '1'='1"}, "/client_id"),
    "a path": ({**GOOD, "client_id": "../../keys/ledger.key"}, "/client_id"),
    "another script": ({**GOOD, "client_id": "客户"}, "/client_id"),
    "a control character": ({**GOOD, "client_id": "c00\u0000"}, "/client_id"),
    "a float": ({**GOOD, "requested_debt_amt": 10.0}, "/requested_debt_amt"),
    "an exponent": ({**GOOD, "requested_debt_amt": "1e9"}, "/requested_debt_amt"),
    "NaN in a string": ({**GOOD, "requested_debt_amt": "NaN"}, "/requested_debt_amt"),
    "a negative amount": ({**GOOD, "requested_debt_amt": "-1.00"}, "/requested_debt_amt"),
    "three places": ({**GOOD, "requested_debt_amt": "1.001"}, "/requested_debt_amt"),
    "too much": ({**GOOD, "requested_debt_amt": "99999999999.00"}, "/requested_debt_amt"),
    "another currency": ({**GOOD, "currency": "EUR"}, "/currency"),
    "a field too many": ({**GOOD, "max_debt_amt": "1"}, "/max_debt_amt"),
    "a tilde and a slash": ({**GOOD, "a~/b": 1}, "/a~0~1b"),
    "an applicant that is none": ({**GOOD, "applicant": "x"}, "/applicant"),
    "an applicant without flags": ({**GOOD, "applicant": {"pep": 1}}, "/applicant/pep"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/simulations"])
def test_a_body_that_breaks_a_rule_is_refused_by_its_place(service, path, name):
    body, pointer = HOSTILE[name]
    size = service.size
    content = body if isinstance(body, str) else json.dumps(body)
    answer = service.call(
        "POST", path, content=content, headers={"content-type": "application/json"}
    )
    document = refused(service, 422, "body_invalid", answer)
    assert pointer in [e["pointer"] for e in document["errors"]]
    assert service.size == size


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a":NaN}', b"\xff\xfe", b'{"a":"\\ud800"}', b"[" * 20_000, b"null,"],
    ids=["empty", "open", "nan", "not utf-8", "lone surrogate", "nested", "trailing"],
)
def test_what_is_not_json_is_refused(service, content):
    size = service.size
    answer = service.call(
        "POST", "/v1/decisions", content=content, headers={"content-type": "application/json"}
    )
    refused(service, 400, "body_not_json", answer)
    assert service.size == size


def test_ten_megabytes_are_refused_with_and_without_a_stated_length(service):
    large = b'{"client_id": "' + b"x" * 10_000_000 + b'"}'
    json_type = {"content-type": "application/json"}
    answer = service.call("POST", "/v1/decisions", content=large, headers=json_type)
    refused(service, 413, "body_too_large", answer)
    pieces = (large[k : k + 65_536] for k in range(0, len(large), 65_536))
    answer = service.call("POST", "/v1/decisions", content=pieces, headers=json_type)
    refused(service, 413, "body_too_large", answer)


def test_another_media_type_is_refused(service):
    answer = service.call("POST", "/v1/decisions", data=GOOD)
    refused(service, 415, "media_type", answer)


@pytest.mark.parametrize("key", [None, "x" * 129, "two words", "tab\there"])
def test_a_decision_needs_an_idempotency_key(service, key):
    size = service.size
    refused(service, 400, "header_missing", service.decide(key=key))
    assert service.size == size


def test_unknown_paths_and_methods_are_problems_too(service):
    refused(service, 404, "not_found", service.call("GET", "/v1/nothing"))
    refused(service, 404, "not_found", service.call("GET", "/v1/decisions/../../etc/passwd"))
    refused(service, 404, "not_found", service.call("GET", "/v1/clients/nobody/limits"))
    refused(service, 404, "not_found", service.call("GET", "/v1/decisions/none"))
    answer = service.call("DELETE", "/v1/policy")
    refused(service, 405, "method_not_allowed", answer)
    assert answer.headers["allow"] == "GET"


# --- tokens -------------------------------------------------------------------------------------


def _part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def forged(service):
    now = int(time.time())
    claims = {
        "iss": "gearline-local", "aud": "gearline", "sub": "eve", "roles": ["service"],
        "iat": now, "exp": now + 600,
    }  # fmt: skip
    good = service.token("service")
    head, body, signature = good.split(".")
    public = service.app.state.service.edge.verifier._local.public_bytes_raw()
    other = Ed25519PrivateKey.generate()
    raised = json.loads(base64.urlsafe_b64decode(body + "=="))
    raised["roles"] = list(ROLES)
    return {
        "nothing": "x",
        "no signature": f"{head}.{body}.",
        "none as algorithm": f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}.",
        "another key": jwt.encode(claims, other, algorithm="EdDSA"),
        "the public key as a secret": jwt.encode(claims, public, algorithm="HS256"),
        "roles written in": f"{head}.{_part(raised)}.{signature}",
        "expired": mint(service.lake, "service", "eve", -2, time.time(), "gearline"),
        "for another audience": mint(service.lake, "service", "eve", 1, time.time(), "other"),
        "another issuer": jwt.encode({**claims, "iss": "elsewhere"}, other, algorithm="EdDSA"),
        "too long": "x" * 9000,
        "without expiry": jwt.encode(
            {k: v for k, v in claims.items() if k != "exp"}, other, algorithm="EdDSA"
        ),
    }


def test_forged_and_expired_tokens_are_refused_and_nothing_is_written(service):
    size = service.size
    for name, token in forged(service).items():
        answer = service.client.post(
            "/v1/decisions",
            json=GOOD,
            headers={"authorization": f"Bearer {token}", "idempotency-key": f"forged-{len(name)}"},
        )
        document = refused(service, 401, "token_refused", answer)
        assert token not in json.dumps(document)
        assert "Bearer" in answer.headers["www-authenticate"]
    for header in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}):
        answer = service.client.post("/v1/decisions", json=GOOD, headers=header)
        refused(service, 401, "token_missing", answer)
    assert service.size == size


def test_a_role_reaches_its_operations_and_no_other(service):
    size = service.size
    for operation in service.app.state.service.operations():
        if operation.roles is None:
            continue
        path = operation.path.replace("{", "").replace("}", "")
        for role in ROLES:
            answer = service.call(operation.method, path, role, content=b"")
            if role in operation.roles:
                assert answer.status_code != 403, (operation.name, role)
            else:
                refused(service, 403, "role_missing", answer)
    assert service.size == size


def test_a_reader_sees_no_reason_above_its_own(service):
    made = service.decide("pep", "10.00")
    codes = {}
    for role in ROLES:
        shown = service.call("GET", made.headers["location"], role).json()
        codes[role] = {r["code"] for r in shown["reasons"]}
        assert ("attributions" in shown) is (role != "service")
    assert "gate_pep" not in codes["service"] | codes["reviewer"] | codes["approver"]
    assert "gate_pep" in codes["risk"] & codes["auditor"]


def test_an_oidc_issuers_tokens_are_accepted_by_its_key_set(tmp_path):
    key = generate_private_key(65537, 2048)
    entry = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{**entry, "kid": "k1", "alg": "RS256", "use": "sig"}]}))
    verifier = Verifier(Settings(tmp_path, tmp_path / "l", issuer="https://id", jwks=str(jwks)))
    claims = {
        "iss": "https://id", "aud": "gearline", "sub": "u1", "roles": ["risk", "root", 7],
        "exp": time.time() + 60,
    }  # fmt: skip
    caller = verifier.check(jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k1"}))
    assert (caller.subject, set(caller.roles), caller.reader) == ("u1", {"risk"}, "compliance")
    with pytest.raises(InputError, match="nobody could sign in"):
        Verifier(Settings(tmp_path, tmp_path / "l"))


def test_a_caller_who_asks_too_often_is_told_how_long_to_wait(serve):
    service = serve(rate=2.0)
    answers = [service.call("GET", "/v1/models") for _ in range(8)]
    last = answers[-1]
    refused(service, 429, "too_many_requests", last)
    assert int(last.headers["retry-after"]) >= 1
    assert answers[0].status_code == 200
    assert service.call("GET", "/v1/models", subject="another").status_code == 200


def test_every_code_has_a_status_and_a_title():
    for code, (status, title) in CODES.items():
        assert code == code.lower()
        assert 400 <= status < 600
        assert title
