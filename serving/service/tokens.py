"""Who calls: bearer tokens of an OIDC issuer, or of the lake's own key in a demo."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_contracts.errors import InputError
from serving.ledger.database import fsync_folder
from serving.service.problems import ProblemError
from serving.service.settings import TOKEN_KEY_FILE, Settings

ROLES: Final = ("service", "reviewer", "approver", "risk", "validator", "auditor", "admin")
AUDIENCE_OF: Final = {
    "service": "client",
    "reviewer": "staff",
    "approver": "staff",
    "validator": "staff",
    "admin": "staff",
    "risk": "compliance",
    "auditor": "compliance",
}
"""Whose reasons a role reads; of several roles the furthest counts."""
LOCAL_ISSUER: Final = "gearline-local"
LONGEST_TOKEN: Final = 8192
_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA", "PS256")
"""Asymmetric ones only: a shared secret would let every verifier mint tokens."""
_REMEMBERED: Final = 4096
_LEEWAY_S: Final = 30
_READERS: Final = ("client", "staff", "compliance")


@dataclass(frozen=True)
class Caller:
    """Who a token says is calling."""

    subject: str
    roles: frozenset[str]
    expires_at: float

    @property
    def reader(self) -> str:
        """The audience whose reasons this caller may read."""
        return max((AUDIENCE_OF[r] for r in self.roles), key=_READERS.index, default="client")

    def require(self, allowed: Iterable[str]) -> None:
        """Refuse a caller without one of the roles."""
        if not self.roles & frozenset(allowed):
            raise ProblemError(
                "role_missing",
                f"this needs one of the roles {', '.join(sorted(allowed))}; the token has"
                f" {', '.join(sorted(self.roles)) or 'none'}",
            )


class Verifier:
    """Checks tokens; a token that passed is remembered until it expires."""

    def __init__(self, settings: Settings) -> None:
        self._audience = settings.audience
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._local = None
        if settings.local_tokens:
            self._local = _local_key(settings.lake, create=True).public_key()
        self._issuer = settings.issuer
        self._keys: jwt.PyJWKSet | None = None
        self._remote: jwt.PyJWKClient | None = None
        if settings.jwks is not None and settings.jwks.startswith("https://"):
            self._remote = jwt.PyJWKClient(settings.jwks, cache_keys=True)
        elif settings.jwks is not None:
            try:
                self._keys = jwt.PyJWKSet.from_dict(orjson.loads(Path(settings.jwks).read_bytes()))
            except (OSError, ValueError, jwt.PyJWTError) as error:
                raise InputError(
                    f"--jwks {settings.jwks} is no key set: {error}; name the issuer's JWKS file or"
                    " its https URL"
                ) from None
        if self._local is None and self._keys is None and self._remote is None:
            raise InputError(
                "nobody could sign in: give --issuer and --jwks of your OIDC provider, or"
                " --local-tokens in a demo"
            )

    def remembered(self, token: str) -> Caller | None:
        """A caller whose token has been checked before and is still good."""
        caller = self._known.get(hashlib.sha256(token.encode()).digest())
        return caller if caller is not None and caller.expires_at > time.time() else None

    def check(self, token: str) -> Caller:
        """Check signature, issuer, audience and times; may fetch the issuer's keys."""
        if len(token) > LONGEST_TOKEN:
            raise _refused("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            claims = self._claims(token, header)
            roles = claims.get("roles", [])
            names = frozenset(r for r in roles if isinstance(r, str)) & frozenset(ROLES)
            subject = claims["sub"]
            expires = float(claims["exp"]) + _LEEWAY_S
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            kind = type(error).__name__.removesuffix("Error")
            raise _refused(f"it fails the check {kind}") from None
        caller = Caller(str(subject), names, expires)
        self._known[hashlib.sha256(token.encode()).digest()] = caller
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return caller

    def _claims(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        unverified = jwt.decode(token, options={"verify_signature": False})
        issuer = unverified.get("iss")
        key: Any
        if issuer == LOCAL_ISSUER and self._local is not None:
            key, algorithms = self._local, ["EdDSA"]
        elif issuer == self._issuer and self._keys is not None:
            key, algorithms = self._keys[str(header.get("kid"))], list(_ALGORITHMS)
        elif issuer == self._issuer and self._remote is not None:
            key, algorithms = self._remote.get_signing_key_from_jwt(token).key, list(_ALGORITHMS)
        else:
            raise jwt.InvalidIssuerError("unknown issuer")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=self._audience,
            issuer=issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
        return claims


def _refused(why: str) -> ProblemError:
    return ProblemError(
        "token_refused",
        f"the bearer token is not accepted: {why}; sign in again",
        headers={"www-authenticate": 'Bearer error="invalid_token"'},
    )


def bearer(authorization: str | None) -> str:
    """The token of an ``Authorization`` header."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ProblemError(
            "token_missing",
            "send 'Authorization: Bearer TOKEN'; `gearline token --role service` makes one for a"
            " demo",
            headers={"www-authenticate": "Bearer"},
        )
    return token.strip()


def mint(lake: Path, role: str, subject: str, hours: float, now: float, audience: str) -> str:
    """A token of the lake's own key, for a demo."""
    if role not in ROLES:
        raise InputError(f"there is no role {role!r}; the roles are {', '.join(ROLES)}")
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": audience,
        "sub": subject,
        "roles": [role],
        "iat": int(now),
        "exp": int(now + hours * 3600),
    }
    return jwt.encode(claims, _local_key(lake, create=True), algorithm="EdDSA")


def _local_key(lake: Path, *, create: bool) -> Ed25519PrivateKey:
    path = lake / TOKEN_KEY_FILE
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            os.fsync(stream.fileno())
        fsync_folder(path.parent)
    loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise InputError(f"{path} holds another kind of key; remove it to have one made")
    return loaded
