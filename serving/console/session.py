"""Who is signed in: a sealed cookie that holds what the bearer token said, and nothing else.

The cookie is signed with a key that lies in the lake beside the token key, so that every worker of
one lake can read it and none keeps a table. It ends with the token it was made from, or after a
working day.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from serving.ledger.database import fsync_folder
from serving.service.tokens import Caller

KEY_FILE: Final = "keys/console.key"
KEY_BYTES: Final = 32
LONGEST_SESSION_S: Final = 10 * 3600
"""A working day: nobody stays signed in overnight, whatever the token allows."""
VISITOR_S: Final = 3600
_SIGNED_OUT: Final = 10_000


@dataclass(frozen=True)
class Session:
    """One browser's session; without a subject it only carries the forgery token of the sign-in."""

    subject: str
    roles: frozenset[str]
    expires_at: float
    nonce: str

    @property
    def signed_in(self) -> bool:
        """Whether somebody is signed in."""
        return bool(self.subject)

    @property
    def caller(self) -> Caller:
        """The session as the service's operations know a caller."""
        return Caller(self.subject, self.roles, self.expires_at)


class Sealer:
    """Seals and opens session cookies, and makes and checks forgery tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # a signed-out session would stay good until it expires; this worker refuses it at once
        self._ended: OrderedDict[str, float] = OrderedDict()

    def _mac(self, purpose: str, content: bytes) -> str:
        mac = hmac.new(self._key, purpose.encode() + b"\x1f" + content, hashlib.sha256)
        return base64.urlsafe_b64encode(mac.digest()).decode().rstrip("=")

    def seal(self, session: Session) -> str:
        """The cookie's value."""
        content = orjson.dumps(
            [session.subject, sorted(session.roles), session.expires_at, session.nonce]
        )
        text = base64.urlsafe_b64encode(content).decode().rstrip("=")
        return f"{text}.{self._mac('session', text.encode())}"

    def open(self, cookie: str | None, now: float) -> Session | None:
        """The session of a cookie; None if it is forged, expired or signed out."""
        text, _, mac = (cookie or "").partition(".")
        if not mac or not hmac.compare_digest(
            mac.encode(), self._mac("session", text.encode()).encode()
        ):
            return None
        padded = text + "=" * (-len(text) % 4)
        subject, roles, expires_at, nonce = orjson.loads(base64.urlsafe_b64decode(padded))
        if expires_at <= now or nonce in self._ended:
            return None
        return Session(subject, frozenset(roles), float(expires_at), nonce)

    def begin(self, caller: Caller | None, now: float) -> Session:
        """A fresh session of a caller, or of a visitor who is about to sign in."""
        nonce = secrets.token_urlsafe(18)
        if caller is None:
            return Session("", frozenset(), now + VISITOR_S, nonce)
        expires = min(caller.expires_at, now + LONGEST_SESSION_S)
        return Session(caller.subject, caller.roles, expires, nonce)

    def end(self, session: Session) -> None:
        """Refuse the session from now on."""
        self._ended[session.nonce] = session.expires_at
        while len(self._ended) > _SIGNED_OUT:
            self._ended.popitem(last=False)

    def forgery_token(self, session: Session) -> str:
        """What a form of this session carries."""
        return self._mac("form", session.nonce.encode())

    def is_own_form(self, session: Session, token: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(self.forgery_token(session).encode(), token.encode())


def console_key(lake: Path) -> bytes:
    """The lake's key for console cookies, made at first use."""
    path = lake / KEY_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            os.fsync(stream.fileno())
        # of two workers that start at once one wins, and both read the winner's
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
        fsync_folder(path.parent)
    return path.read_bytes()
