"""Finished folds on disk, so that a benchmark of hours can be run in pieces.

The file is JSON Lines: first what was asked, then one line a fold. A run that is cut off loses the
fold in hand; the next one with the same file goes on behind it. Folds of another question (seed,
sizes, seconds, recipe) are refused, never mixed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_contracts.errors import InputError


class FoldsKept:
    """Folds by set and method, in order; with a path they are kept there."""

    def __init__(self, path: Path | None, asked: Mapping[str, Any]) -> None:
        self._path = path
        self._folds: dict[tuple[str, str], list[dict[str, Any]]] = {}
        if path is None:
            return
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(asked)) + "\n", encoding="utf-8")
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a cut-off write leaves half a line
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            before = lines[0]
            for line in lines[1:]:
                self._folds.setdefault((line["set"], line["model"]), []).append(line)
        except (ValueError, KeyError, IndexError, TypeError):
            raise InputError(
                f"--resume {path} is no file of finished folds; name another"
            ) from None
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        for name, value in asked.items():
            found = before.get(name) if isinstance(before, dict) else None
            if found != value:
                raise InputError(
                    f"--resume {path} holds folds of {name} {found!r}, not {value!r}; ask the same"
                    " or name another file"
                )

    def of(self, one: str, method: str) -> list[dict[str, Any]]:
        """The finished folds of a set and method."""
        return self._folds.get((one, method), [])

    def add(self, one: str, method: str, fold: Mapping[str, Any]) -> None:
        """Keep one more."""
        line = {"set": one, "model": method, **fold}
        self._folds.setdefault((one, method), []).append(line)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
