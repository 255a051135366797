"""A decision: its canonical body, bytes and hash, and the reasons it states."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex

DECISION_ENGINE_VERSION: Final = "4"
"""A change of a single byte of any decision needs a new version; the golden decisions hold it."""

OUTCOMES: Final = ("approve", "refer", "decline")
"""In order of severity: outcomes combine with max."""

Audience = Literal["client", "staff", "compliance"]


def decision_id(request_key: str, client_id: str, as_of: str) -> str:
    """First 128 bits of SHA-256 over run or request key, client and session, as a UUIDv8.

    >>> decision_id("run", "c1", "2015-06-12")
    'b5cdfc0d-c271-8b11-b40e-9da195d4972c'
    """
    return decision_id_of("\x1f".join((request_key, client_id, as_of)).encode())


def decision_id_of(named: bytes) -> str:
    """The same from the bytes that name a decision: key, client and session, 0x1f between."""
    digest = bytearray(hashlib.sha256(named).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    h = digest.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


@dataclass(frozen=True)
class Decision:
    """One decision. ``body`` is what is hashed; wall-clock times belong to the ledger."""

    body: dict[str, Any]

    @property
    def canonical(self) -> bytes:
        """The body's canonical bytes (RFC 8785), checked for floats and large integers."""
        return canonical_bytes(self.body)

    @property
    def sha256(self) -> str:
        """``decision_sha256``."""
        return sha256_hex(self.canonical)


def body_sha256(body: dict[str, Any]) -> bytes:
    """The digest of a body that ``decide`` built, which holds integers and strings by construction.

    The same bytes as ``canonical_bytes`` without its walk; a test holds them equal.
    """
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
