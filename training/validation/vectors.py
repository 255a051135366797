"""Reference numbers, and whether the statistics give them: the report's check on itself.

A vectors folder holds JSON files; the part of its name before ``.json`` says which checker reads it.
The project's own folder (``reference/``) holds cases whose numbers do not come from this code: exact
fractions, published figures, R.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

from data_contracts.errors import InputError
from training.validation.checkers import CHECKERS, WITH_FOLDER, Check

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; restore the file") from None
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}") from None


def check_file(path: Path) -> list[Check]:
    """Every number of one file against ours.

    Raises
    ------
    InputError
        If no checker reads a file of this name, or the file is damaged.
    """
    checker = CHECKERS.get(path.stem)
    if checker is None:
        raise InputError(
            f"{path.name} is no vectors file known here; there are: {', '.join(CHECKERS)}"
        )
    document = _read(path)
    try:
        if path.stem in WITH_FOLDER:
            return list(checker(document, path.parent))
        return list(checker(document))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {type(error).__name__} {error}") from None


def own_folder() -> Path:
    """The project's own reference cases."""
    return Path(str(resources.files("training.validation") / "reference"))


@dataclass(frozen=True)
class SelfTest:
    """Checks by file."""

    by_file: dict[str, list[Check]]

    @property
    def checked(self) -> int:
        """Numbers compared."""
        return sum(map(len, self.by_file.values()))

    @property
    def failed(self) -> int:
        """Numbers outside their tolerance."""
        return sum(not c.ok for checks in self.by_file.values() for c in checks)

    def as_dict(self) -> dict[str, Any]:
        """What ``validate self-test --json`` prints."""
        return {
            "checked": self.checked,
            "failed": self.failed,
            "by_file": {
                name: {
                    "checked": len(checks),
                    "failed": sum(not c.ok for c in checks),
                    "largest_tolerance": max((c.tolerance for c in checks), default=0.0),
                    "failures": [c.as_dict() for c in checks if not c.ok],
                }
                for name, checks in self.by_file.items()
            },
        }


def self_test(folder: Path | None = None, stages: Stages | None = None) -> SelfTest:
    """Check every file of a folder; without one, the project's own.

    Raises
    ------
    InputError
        If the folder holds no JSON file, or one that no checker reads.
    """
    folder = own_folder() if folder is None else folder
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"{folder} holds no vectors: no .json file is in it; check the path")
    found = {}
    for k, path in enumerate(paths):
        found[path.name] = check_file(path)
        if stages:
            stages("vectors", k + 1, len(paths))
    return SelfTest(found)


def run_self_test(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``validate self-test``."""
    result = self_test(arguments.vectors, stages)
    document = {**result.as_dict(), "vectors": str(arguments.vectors or own_folder())}
    lines = [f"{result.checked:,} numbers of {len(result.by_file)} files, {result.failed} wrong"]
    for name, checks in result.by_file.items():
        bad = [c for c in checks if not c.ok]
        lines.append(f"  {name}: {len(checks)} numbers, {len(bad)} wrong")
        lines += [
            f"    {c.name}: expected {c.expected!r}, found {c.found!r}, tolerance {c.tolerance:g}"
            for c in bad
        ]
    return (FOUND if result.failed else DONE), document, "\n".join(lines)
