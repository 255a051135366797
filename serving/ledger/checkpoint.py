"""Signed checkpoints: what the ledger held at a time, kept outside its database.

A checkpoint file holds one JSON line per checkpoint. Beside it, in ``<file>.pub``, stand the public
keys, one ``key_id base64`` line each. Whoever keeps copies of both can later tell whether the
ledger was truncated or rewritten; the private key stays with the lender and away from the database.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from serving.ledger.database import fsync_folder

# Signed in front of the checkpoint, so that the key's signature serves no other purpose.
_CONTEXT = b"gearline ledger checkpoint v1\n"
_KEY_ID_DIGITS = 16


@dataclass(frozen=True)
class Checkpoint:
    """A signed statement: at ``time`` the ledger had ``size`` entries and this ``root`` (hex)."""

    size: int
    root: str
    time: str
    key_id: str
    signature: str

    def signed_bytes(self) -> bytes:
        """Return what the signature is over."""
        document: dict[str, object] = asdict(self)
        del document["signature"]
        return _CONTEXT + canonical_bytes(document)

    def to_line(self) -> bytes:
        """Return the checkpoint as a JSON line."""
        return canonical_bytes(asdict(self)) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "Checkpoint":
        """Read what ``to_line`` wrote, and nothing else."""
        try:
            checkpoint = cls(**orjson.loads(line))
            valid = (
                type(checkpoint.size) is int
                and checkpoint.size >= 0
                and all(
                    type(text) is str
                    for text in (checkpoint.root, checkpoint.time, checkpoint.key_id)
                )
                and len(bytes.fromhex(checkpoint.root)) == hashlib.sha256().digest_size
                and checkpoint.to_line() == line.rstrip(b"\n") + b"\n"
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"a checkpoint is one JSON line: {error}") from error
        if not valid:
            raise InputError("a checkpoint is one JSON line: size, root, time, key_id, signature")
        return checkpoint

    def is_signed_by(self, public_key: bytes) -> bool:
        """Say whether the signature is that of ``public_key`` (32 raw bytes)."""
        try:
            signature = base64.b64decode(self.signature, validate=True)
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, self.signed_bytes())
        except (InvalidSignature, ValueError):
            return False
        return key_id_of(public_key) == self.key_id


def key_id_of(public_key: bytes) -> str:
    """Return the first 16 hexadecimal digits of the key's SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:_KEY_ID_DIGITS]


def public_key_file(path: Path) -> Path:
    """Return where the public keys for a key or checkpoint file stand."""
    return path.with_name(path.name + ".pub")


def read_public_keys(path: Path) -> dict[str, bytes]:
    """Read a public key file: key id to raw key."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not ASCII text"
        raise InputError(
            f"checkpoints are verified with a public key file: cannot read {path} ({why}); "
            "name a checkpoint file of this ledger, or copy its keys from beside the signing key"
        ) from error
    keys = {}
    for number, line in enumerate(text.splitlines(), 1):
        key_id, _, encoded = line.partition(" ")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if key_id_of(key) != key_id:
            raise InputError(
                f"a public key line is 'key_id base64', the id being the key's hash: "
                f"{path} line {number} is not; copy the file again"
            )
        keys[key_id] = key
    return keys


def read_checkpoint_lines(path: Path) -> list[bytes]:
    """Return the lines of a checkpoint file; none at all is refused."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"verifying since a checkpoint needs the checkpoint file: {path}: {error.strerror}"
        ) from error
    if not lines:
        raise InputError(f"a checkpoint file holds at least one checkpoint: {path} is empty")
    return lines


def append_checkpoint(
    key_path: Path,
    out_path: Path,
    *,
    size: int,
    root: bytes,
    time: str,
    root_at: Callable[[int], bytes | None],
) -> Checkpoint:
    """Sign ``size`` and ``root`` and append the checkpoint, synced, to ``out_path``.

    ``root_at`` gives the ledger's root at an earlier size. A ledger that no longer contains the
    last checkpoint of the file gets no further signature.
    """
    earlier = _whole_lines(out_path)
    if earlier:
        last = Checkpoint.parse(earlier[-1])
        if last.size > size or root_at(last.size) != bytes.fromhex(last.root):
            raise InputError(
                f"a checkpoint extends the one before it: {out_path} says {last.size} entries with "
                f"root {last.root}, which this ledger of {size} entries does not contain; run "
                "'gearline ledger verify --since' with that file"
            )
    key = _load_or_create_key(key_path)
    public_key = key.public_key().public_bytes_raw()
    unsigned = Checkpoint(size, root.hex(), time, key_id_of(public_key), "")
    signature = base64.b64encode(key.sign(unsigned.signed_bytes())).decode()
    checkpoint = Checkpoint(size, root.hex(), time, unsigned.key_id, signature)
    for beside in (key_path, out_path):
        _publish_key(public_key_file(beside), public_key)
    # A line cut short by a crash was never acknowledged: start again from the last whole one.
    _append(out_path, checkpoint.to_line(), keep=sum(len(line) for line in earlier))
    return checkpoint


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        try:
            Checkpoint.parse(lines[-1])
        except InputError:
            return lines[:-1]
        raise InputError(
            f"a checkpoint line ends with a newline: the last of {path} lacks it; add it"
        )
    return lines


def _load_or_create_key(path: Path) -> Ed25519PrivateKey:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _load_key(path)
    except OSError as error:
        raise InputError(f"the signing key is a file: {path}: {error.strerror}") from error
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
        stream.flush()
        os.fsync(stream.fileno())
    fsync_folder(path.parent)
    return key


def _load_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, TypeError, ValueError) as error:
        raise InputError(
            f"the signing key is an unencrypted PEM file: cannot read {path} ({error})"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"the signing key is an Ed25519 key: {path} holds another kind; name a missing file "
            "to have one made"
        )
    return key


def _publish_key(path: Path, public_key: bytes) -> None:
    key_id = key_id_of(public_key)
    if path.exists() and key_id in read_public_keys(path):
        return
    _append(path, f"{key_id} {base64.b64encode(public_key).decode()}\n".encode(), keep=None)


def _append(path: Path, line: bytes, *, keep: int | None) -> None:
    try:
        with path.open("ab") as stream:
            if keep is not None:
                stream.truncate(keep)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(f"cannot append to {path}: {error.strerror}") from error
    fsync_folder(path.parent)
