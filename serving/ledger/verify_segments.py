"""The check of one sealed segment: its file, and the rows inside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from serving.ledger import tree as merkle
from serving.ledger.findings import Finding

SegmentReader = Callable[[Path], list[bytes]]
_SEGMENT_KEYS = {"run_id", "bucket", "file", "rows", "file_sha256", "decisions_root"}


def segment_problems(
    body: dict[str, object], base_dir: Path, reader: SegmentReader | None
) -> Iterator[tuple[Finding, str]]:
    """What is wrong with a segment, worst first; nothing if it is as it was sealed."""
    name = body.get("file")
    if body.keys() != _SEGMENT_KEYS or not isinstance(name, str):
        yield Finding.SEGMENT_ENTRY_INVALID, f"a segment has the keys {sorted(_SEGMENT_KEYS)}"
        return
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        yield Finding.SEGMENT_ENTRY_INVALID, f"{name} is not under the base folder"
        return
    file = base_dir / relative
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        yield Finding.SEGMENT_MISSING, f"{file}: {error.strerror}"
        return
    if digest != body["file_sha256"]:
        yield (
            Finding.SEGMENT_CHANGED,
            f"{file}: SHA-256 is {digest}, sealed was {body['file_sha256']}",
        )
        return
    if reader is None:
        return
    try:
        leaves = [merkle.leaf_hash(decision) for decision in reader(file)]
    except Exception as error:  # whatever a reader raises on a bad file is a finding
        yield Finding.SEGMENT_ROWS_DIFFER, f"{file} cannot be read: {error}"
        return
    if len(leaves) != body["rows"]:
        yield (
            Finding.SEGMENT_ROWS_DIFFER,
            f"{file} has {len(leaves)} rows, sealed were {body['rows']}",
        )
    if merkle.root(leaves).hex() != body["decisions_root"]:
        yield Finding.SEGMENT_ROWS_DIFFER, f"{file}: its rows have another root than sealed"
