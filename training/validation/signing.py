"""The report's seal: an Ed25519 signature over the SHA-256 of its canonical form.

``report.sig.json`` holds hash, public key and signature. The private key stays with the validator,
outside the report's folder; it is made where it is missing.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from data_contracts.canonical import sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.signed_report import CONTEXT, REPORT, SIGNATURE, key_id_of, read_signed

__all__ = ["REPORT", "SIGNATURE", "load_key", "read_signed", "report_bytes", "sign", "write_signed"]


def report_bytes(document: dict[str, Any]) -> bytes:
    """The one form of a report that is written, hashed and signed."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(document, option=options)


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def load_key(path: Path) -> Ed25519PrivateKey:
    """The validator's key; a new one, readable by its owner only, where there is none.

    Raises
    ------
    InputError
        If the file is no Ed25519 key in PEM.
    """
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        return key
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise InputError(f"--key {path} is no Ed25519 key in PEM; name another, or a new file")
    return found


def sign(data: bytes, key: Ed25519PrivateKey) -> dict[str, str]:
    """Hash, public key and signature of a report's bytes."""
    digest, public = sha256_hex(data), _raw(key.public_key())
    return {
        "report_sha256": digest,
        "key_id": key_id_of(public),
        "public_key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(key.sign(CONTEXT + digest.encode())).decode(),
    }


def write_signed(folder: Path, document: dict[str, Any], key: Ed25519PrivateKey) -> dict[str, str]:
    """Write the report and its signature."""
    data = report_bytes(document)
    seal = sign(data, key)
    write_atomically(folder / REPORT, data)
    write_atomically(folder / SIGNATURE, report_bytes(dict(seal)))
    return seal
