"""A segment's file: where it lies under a base folder, and its hash once it is on disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from data_contracts.errors import InputError
from serving.ledger.database import fsync_folder


def relative_file(file: Path, base: Path) -> str:
    """The file's path under ``base``, in POSIX form; one that leads out of it is refused."""
    if file.is_absolute():
        if not file.is_relative_to(base.absolute()):
            raise InputError(
                f"a segment file lies under the base folder: {file} is not under {base}; "
                "move it or give another base_dir"
            )
        file = file.relative_to(base.absolute())
    relative = PurePosixPath(file.as_posix())
    if ".." in relative.parts or not relative.parts:
        raise InputError(
            f"a segment file lies under the base folder: {relative} leads out of it; "
            "give a path without '..'"
        )
    return str(relative)


def synced_file_sha256(file: Path) -> str:
    """SHA-256 of a file that is durable, name and content, when this returns."""
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(
            f"a segment is sealed once its file is written: {file}: {error.strerror}"
        ) from error
    fsync_folder(file.parent)
    return digest
