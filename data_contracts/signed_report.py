"""A validation report as it crosses from those who validate to those who release: JSON and a seal.

``report.sig.json`` holds the SHA-256 of ``report.json``, an Ed25519 public key and the signature
over the hash. The private key stays with the validator.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from data_contracts.canonical import sha256_hex
from data_contracts.errors import InputError

# Signed in front of the hash, so that the key's signature serves no other purpose.
CONTEXT: Final = b"gearline validation report v1\n"
REPORT: Final = "report.json"
SIGNATURE: Final = "report.sig.json"


def key_id_of(public: bytes) -> str:
    """How a validator's key is named: the first 16 hexadecimal digits of its SHA-256."""
    return sha256_hex(public)[:16]


def read_signed(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A report whose signature holds.

    Whether the key is the validator's, the reader decides by ``key_id``: anyone can sign with a
    key of their own.

    Raises
    ------
    InputError
        If a file is missing, or the report is not what was signed.
    """
    try:
        data = (folder / REPORT).read_bytes()
        seal: dict[str, str] = orjson.loads((folder / SIGNATURE).read_bytes())
        public = base64.b64decode(seal["public_key"], validate=True)
        signature = base64.b64decode(seal["signature"], validate=True)
        claimed = seal["report_sha256"]
    except OSError as error:
        raise InputError(
            f"{folder} is no validation report: {Path(str(error.filename)).name} is missing;"
            " make one with `gearline validate report`"
        ) from None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{folder / SIGNATURE} is damaged; the report cannot be checked") from None
    if sha256_hex(data) != claimed:
        raise InputError(f"{folder / REPORT} was changed after it was signed; ask for the original")
    try:
        if key_id_of(public) != seal.get("key_id"):
            raise ValueError("the key goes by another name")
        Ed25519PublicKey.from_public_bytes(public).verify(signature, CONTEXT + claimed.encode())
    except (InvalidSignature, ValueError):
        raise InputError(f"the signature of {folder / REPORT} does not hold") from None
    document: dict[str, Any] = orjson.loads(data)
    return document, seal
