"""What a folder holds, and what a command that refused said."""

from __future__ import annotations

import hashlib


def files_in(folder):
    """SHA-256 of every file, but for those that SQLite makes and drops while it reads."""
    found = {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.endswith("-shm")
    }
    nothing = hashlib.sha256(b"").hexdigest()
    return {p: d for p, d in found.items() if not (p.endswith("-wal") and d == nothing)}


def refused(ran):
    assert (ran.code, ran.out) == (2, "")
    [line] = ran.err.splitlines()
    return line
