"""Features of one client at once: a snapshot of the batch frame in one SQLite file.

A night publishes its frame by renaming a finished file over the old one; a reader sees the old
night or the new one, never a mixture. The snapshot states until when it may be used, and a reader
that is asked about a later instant answers with an error, not with old values.
"""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import IntArray

FORMAT: Final = 1
UTC_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
_LITTLE: Final = np.dtype("<i8")


def publish(frame: FeatureFrame, path: Path, good_until: dt.datetime) -> None:
    """Write a frame as a snapshot that may be read until an instant (with a time zone)."""
    if good_until.tzinfo is None:
        raise InputError(f"good_until is {good_until}; give it a time zone")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    con = sqlite3.connect(temporary)
    try:
        con.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        con.execute("PRAGMA journal_mode = OFF")  # it is renamed into place whole or not at all
        con.execute("CREATE TABLE clients (client_id TEXT NOT NULL, quanta BLOB NOT NULL)")
        about = {
            "format": str(FORMAT),
            "feature_set": frame.feature_set,
            "feature_set_sha256": frame.feature_set_sha256,
            "names": "\n".join(frame.names),
            "as_of": frame.as_of.isoformat(),
            "good_until": good_until.astimezone(dt.UTC).strftime(UTC_FORMAT),
        }
        con.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        values = np.ascontiguousarray(frame.values, dtype=_LITTLE)
        con.executemany(
            "INSERT INTO clients VALUES (?, ?)",
            ((name, row.tobytes()) for name, row in zip(frame.client_ids, values, strict=True)),
        )
        # sorted once, at the end: rows put in by name in no order would touch all pages each
        con.execute("CREATE UNIQUE INDEX by_client ON clients (client_id)")
        con.commit()
    finally:
        con.close()
    _sync(temporary, os.O_RDWR)
    os.replace(temporary, path)
    _sync(path.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Snapshot:
    """An open snapshot; ``about`` says of which set and session, and until when it is good."""

    path: Path
    feature_set: str
    feature_set_sha256: str
    names: tuple[str, ...]
    as_of: dt.date
    good_until: dt.datetime
    connection: sqlite3.Connection

    @staticmethod
    def open(path: Path, *, any_thread: bool = False) -> Snapshot:
        """Open a published snapshot for reading.

        Raises
        ------
        InputError
            If there is none, or the file is no snapshot.
        """
        if not path.is_file():
            raise InputError(f"no feature snapshot at {path}; publish the last night's frame")
        # Immutable: a published file is never written again, only replaced.
        con = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro&immutable=1",
            uri=True,
            check_same_thread=not any_thread,
        )
        try:
            about = dict(con.execute("SELECT name, value FROM about"))
            if about["format"] != str(FORMAT):
                raise InputError(f"{path} has format {about['format']}; publish it again")
            until = dt.datetime.strptime(about["good_until"], UTC_FORMAT).replace(tzinfo=dt.UTC)
            return Snapshot(
                path,
                about["feature_set"],
                about["feature_set_sha256"],
                tuple(about["names"].split("\n")),
                dt.date.fromisoformat(about["as_of"]),
                until,
                con,
            )
        except (sqlite3.DatabaseError, KeyError) as error:
            con.close()
            raise InputError(f"{path} is no feature snapshot: {error}; publish it again") from None

    def read(self, client_id: str, now: dt.datetime) -> IntArray:
        """One client's quantised row, as the batch frame has it.

        Raises
        ------
        InputError
            If the snapshot is too old at ``now``, or the client is not in it.
        """
        if now > self.good_until:
            raise InputError(
                f"the features of {self.as_of} were good until"
                f" {self.good_until.strftime(UTC_FORMAT)} and are too old now; publish the last"
                " night's"
            )
        row = self.connection.execute(
            "SELECT quanta FROM clients WHERE client_id = ?", (client_id,)
        ).fetchone()
        if row is None:
            raise InputError(
                f"the client has no features as of {self.as_of}; decide with the application set"
            )
        return np.frombuffer(row[0], dtype=_LITTLE).astype(np.int64)

    def frame(self, client_id: str, now: dt.datetime) -> FeatureFrame:
        """The same as a frame of one row."""
        return FeatureFrame(
            self.feature_set,
            self.feature_set_sha256,
            self.names,
            (client_id,),
            self.as_of,
            self.read(client_id, now)[None, :],
        )

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
