"""Direct identifiers, encrypted for each client, and erased by destroying the client's key.

Names, document numbers and addresses live here and nowhere else. Each client has a data key of its
own (AES-256-GCM), kept wrapped by a key of the key service (envelope encryption), by default a key
file beside the lake. Destroying the wrapped data key makes the ciphertext worthless here and in
every copy that does not hold the wrapped key; backups of this file from before still hold it until
they expire. Nothing else refers to it, so decisions stay verifiable and replayable.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from serving.ledger import Ledger, LedgerReader
from serving.ledger.database import fsync_folder

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
RETENTION_YEARS: Final = 20
"""How long features, decisions and identities are kept by default."""
OVERRIDES_NEEDED: Final = 2
"""People who must agree before an identity is erased while retention runs."""
KEY_FILE: Final = "keys/identities.key"
STORE_FILE: Final = "identities.sqlite"
"""Where a lake keeps the key file and the identities."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS identities (
    client_id TEXT PRIMARY KEY, ciphertext BLOB NOT NULL, key_id TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS data_keys (
    key_id TEXT PRIMARY KEY, wrapped BLOB NOT NULL
) STRICT;
"""


class KeyService(Protocol):
    """Wraps and unwraps data keys; the wrapping key never leaves it."""

    def wrap(self, key: bytes, label: bytes) -> bytes:
        """A data key, wrapped; ``label`` must be given again to unwrap it."""

    def unwrap(self, wrapped: bytes, label: bytes) -> bytes:
        """The data key."""


class LocalKeyService:
    """A key service in one file, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(KEY_BYTES))
                os.fsync(stream.fileno())
            fsync_folder(path.parent)
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise InputError(f"{path} is no key of {KEY_BYTES} bytes; restore it from its backup")
        self._cipher = AESGCM(key)

    def wrap(self, key: bytes, label: bytes) -> bytes:
        """The key under AES-256-GCM, bound to its label."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, label)

    def unwrap(self, wrapped: bytes, label: bytes) -> bytes:
        """The key; a wrong label or a changed byte is refused."""
        return _open(self._cipher, wrapped, label)


class UnknownIdentityError(InputError):
    """Nothing was ever stored for this client."""


class ErasedError(InputError):
    """The identity's key was destroyed: nobody can read it any more."""


class RetentionError(InputError):
    """The identity must still be kept."""


@dataclass(frozen=True)
class Erasure:
    """A wish to erase: who asks, why, until when retention runs, who overrides it."""

    client_id: str
    asked_by: str
    reason: str
    keep_until: date
    overridden_by: tuple[str, ...] = ()

    def entry(self, key_id: str) -> dict[str, object]:
        """What the ledger keeps of it."""
        return {
            "client_id": self.client_id,
            "key_id": key_id,
            "asked_by": self.asked_by,
            "reason": self.reason,
            "keep_until": self.keep_until.isoformat(),
            "overridden_by": sorted(self.overridden_by),
        }


def keep_until(last_event: date, years: int = RETENTION_YEARS) -> date:
    """The last day of retention after a client's last event.

    >>> keep_until(date(2004, 2, 29))
    datetime.date(2024, 2, 29)
    """
    try:
        return last_event.replace(year=last_event.year + years)
    except ValueError:  # 29 February into a year without one
        return last_event.replace(year=last_event.year + years, day=28) + timedelta(days=1)


def check_erasure(wish: Erasure, today: date) -> None:
    """Refuse an erasure while retention runs, unless two people other than the asker override it.

    Raises
    ------
    RetentionError
        Naming the last day of retention and who still has to agree.
    """
    if today > wish.keep_until:
        return
    agreed = {name for name in wish.overridden_by if name != wish.asked_by}
    if len(agreed) < OVERRIDES_NEEDED:
        raise RetentionError(
            f"an identity is kept until retention ends: this one until {wish.keep_until};"
            f" {OVERRIDES_NEEDED} people other than {wish.asked_by} may override it,"
            f" {len(agreed)} did"
        )


class Identities:
    """The store of identities in one SQLite file."""

    def __init__(self, path: Path, keys: KeyService) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._keys = keys
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        # freed pages are overwritten: a destroyed key must not survive in the file
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def put(self, client_id: str, identity: Mapping[str, object]) -> str:
        """Store or replace a client's identity under the client's own key; the key's number."""
        row = self._connection.execute(
            "SELECT i.key_id, k.wrapped FROM identities i LEFT JOIN data_keys k"
            " ON k.key_id = i.key_id WHERE i.client_id = ?",
            (client_id,),
        ).fetchone()
        if row is not None and row[1] is None:
            raise ErasedError(f"client {client_id} was erased; a new relation gets a new number")
        key_id = secrets.token_hex(16) if row is None else str(row[0])
        key = (
            AESGCM.generate_key(8 * KEY_BYTES)
            if row is None
            else self._keys.unwrap(row[1], key_id.encode())
        )
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(
            nonce, canonical_bytes(dict(identity)), client_id.encode()
        )
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if row is None:
                wrapped = self._keys.wrap(key, key_id.encode())
                self._connection.execute("INSERT INTO data_keys VALUES (?, ?)", (key_id, wrapped))
            self._connection.execute(
                "INSERT INTO identities VALUES (?, ?, ?) ON CONFLICT (client_id)"
                " DO UPDATE SET ciphertext = excluded.ciphertext",
                (client_id, sealed, key_id),
            )
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return key_id

    def get(self, client_id: str) -> dict[str, object]:
        """A client's identity, decrypted."""
        row = self._connection.execute(
            "SELECT i.ciphertext, i.key_id, k.wrapped FROM identities i LEFT JOIN data_keys k"
            " ON k.key_id = i.key_id WHERE i.client_id = ?",
            (client_id,),
        ).fetchone()
        if row is None:
            raise UnknownIdentityError(f"there is no identity of client {client_id}")
        ciphertext, key_id, wrapped = row
        if wrapped is None:
            raise ErasedError(f"the identity of client {client_id} was erased")
        key = self._keys.unwrap(wrapped, key_id.encode())
        plain = _open(AESGCM(key), ciphertext, client_id.encode())
        document: dict[str, object] = orjson.loads(plain)
        return document

    def erase(self, wish: Erasure, today: date, ledger: Ledger) -> int:
        """Destroy a client's key; returns the position of the entry that says so.

        The entry comes first: should the process end between the two, the key is destroyed when the
        erasure is asked for again, and the entry is not doubled.
        """
        check_erasure(wish, today)
        key_id = self.key_of(wish.client_id)
        known = ledger.position_of(f"erasure/{key_id}")
        if known is None:
            [known] = ledger.append(
                [{"kind": "identity_erased", "body": wish.entry(key_id)}],
                idempotency_keys=[f"erasure/{key_id}"],
            )
        self.destroy(key_id)
        return known

    def key_of(self, client_id: str) -> str:
        """The number of a client's key; it stays after the key is destroyed."""
        row = self._connection.execute(
            "SELECT key_id FROM identities WHERE client_id = ?", (client_id,)
        ).fetchone()
        if row is None:
            raise UnknownIdentityError(f"there is no identity of client {client_id}")
        return str(row[0])

    def destroy(self, key_id: str) -> None:
        """Destroy a key whose erasure is on record; again does no harm."""
        self._connection.execute("DELETE FROM data_keys WHERE key_id = ?", (key_id,))
        # the log may still hold the page with the key: empty it now, not at some later time
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def finish_erasures(self, reader: LedgerReader) -> int:
        """Destroy the keys of erasures that were broken off after their entry; how many."""
        clients = self.unfinished(reader)
        for client in clients:
            self.destroy(self.key_of(client))
        return len(clients)

    def unfinished(self, reader: LedgerReader) -> list[str]:
        """Clients whose erasure is on record while their key still exists, after a crash."""
        found = []
        for entry in reader.latest("kind/identity_erased", 100_000):
            row = self._connection.execute(
                "SELECT 1 FROM data_keys WHERE key_id = ?", (str(entry.body["key_id"]),)
            ).fetchone()
            if row is not None:
                found.append(str(entry.body["client_id"]))
        return sorted(found)


def _open(cipher: AESGCM, sealed: bytes, label: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], label)
    except InvalidTag:
        raise InputError(
            f"a ciphertext was changed, or is another's (its hash is {sha256_hex(sealed)[:12]});"
            " restore it from a backup"
        ) from None
