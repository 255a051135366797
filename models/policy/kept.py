"""Policy packs kept in a lake under their hash, beside those that ship with Gearline.

The document that people approve is the one that was hashed: it is kept under that hash, and refused
if its content no longer has it, or if the linter finds anything in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from models.policy.check import Finding, check_documents
from models.policy.document import read_yaml, shipped_documents
from models.policy.pack import PACK_NAMES, Pack, build_pack, load_pack

FOLDER: Final = "policies"
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class PackRefusedError(InputError):
    """A kept pack that the linter finds something in; ``findings`` says what."""

    def __init__(self, sha256: str, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        first = self.findings[0]
        super().__init__(
            f"policy pack {sha256[:16]} is refused, {len(self.findings)} findings:"
            f" {first.kind}: {first.parameter}: {first.detail}"
        )


def keep(root: Path, document: dict[str, Any], house: dict[str, Any]) -> str:
    """Write a pack's documents under their hash; returns the hash. One that breaks a rule is
    refused."""
    pack = build_pack(document, house)
    text = yaml.safe_dump({"document": document, "house": house}, allow_unicode=True)
    write_atomically(root / FOLDER / f"{pack.sha256}.yaml", text.encode())
    return pack.sha256


def kept(root: Path, sha256: str) -> Pack | None:
    """The pack kept under a hash, or None where the lake has none."""
    found = _documents(root, sha256)
    return None if found is None else _built(sha256, *found)


def latest(root: Path, count: int) -> list[str]:
    """The hashes of the packs that were kept last."""
    files = sorted((root / FOLDER).glob("*.yaml"), key=lambda p: (-p.stat().st_mtime, p.name))
    return [p.stem for p in files[:count]]


def pack_with(root: Path, name: str, sha256: str) -> Pack:
    """The pack of a jurisdiction with a hash: the one that ships, or one kept in the lake.

    Raises
    ------
    InputError
        If it is neither, or the kept document is no longer the one that was hashed.
    """
    if name in PACK_NAMES and load_pack(name).sha256 == sha256:
        return load_pack(name)
    found = kept(root, sha256)
    if found is None or found.name != name:
        raise InputError(
            f"policy pack {name!r} with hash {sha256[:16]} neither ships with this release nor is"
            f" kept in {root / FOLDER}; restore it there"
        )
    return found


def pack_of(root: Path, run: Mapping[str, Any]) -> Pack:
    """The pack that a recorded run names; where that is gone, the shipped one.

    Whoever compares hashes then finds the difference, and says so.
    """
    try:
        return pack_with(root, str(run["policy"]), str(run["policy_sha256"]))
    except InputError:
        return load_pack(str(run["policy"]))


def documents_of(root: Path, pack: Pack) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents that a pack of ``pack_with`` was made from: its own, and the house profile."""
    if pack.name in PACK_NAMES and load_pack(pack.name).sha256 == pack.sha256:
        return shipped_documents(pack.name)
    found = _documents(root, pack.sha256)
    if found is None:
        raise InputError(f"policy pack {pack.sha256[:16]} is no longer kept; restore it")
    return found


def linted(root: Path, name: str, sha256: str) -> Pack:
    """The same pack, refused if the linter of ``gearline policy check`` finds anything in it."""
    pack = pack_with(root, name, sha256)
    _, findings = check_documents(*documents_of(root, pack))
    if findings:
        raise PackRefusedError(sha256, findings)
    return pack


def direction(rows: Iterable[Mapping[str, Any]]) -> str:
    """Which way the rules that differ go, for the number of people who must agree.

    The loosest part counts.
    """
    found = {str(r["change"]) for r in rows}
    if "looser" in found or "removed" in found:
        return "loosens"
    return "tightens" if found and found <= {"tighter", "added"} else "neutral"


def _documents(root: Path, sha256: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    if not _HASH.fullmatch(sha256):
        return None
    path = root / FOLDER / f"{sha256}.yaml"
    if not path.is_file():
        return None
    found = read_yaml(path.read_text(encoding="utf-8"), path.name)
    return found["document"], found["house"]


def _built(sha256: str, document: dict[str, Any], house: dict[str, Any]) -> Pack:
    pack = build_pack(document, house)
    if pack.sha256 != sha256:
        raise InputError(
            f"the candidate {sha256[:16]} was changed after it was proposed; make it anew"
        )
    return pack
