"""Where a lake keeps what the serving side writes, and what every verb here answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from serving.ledger import Location, exists, is_url, named

LEDGER_FILE: Final = "ledger.sqlite"
CHECKPOINTS_FILE: Final = "ledger.checkpoints"
KEY_FILE: Final = "keys/ledger.key"
BUNDLE_FOLDER: Final = "bundle"

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
"""Exit code, the document of ``--json``, and the text for a person."""


def ledger_at(root: Path, given: str | None) -> Location:
    """The ledger that was named, else the lake's own file."""
    if given is None:
        return root / LEDGER_FILE
    return given if is_url(given) else Path(given)


def existing_ledger(root: Path, given: str | None = None) -> Location:
    """The ledger, or one error that says how to get one or name another."""
    where = ledger_at(root, given)
    if not exists(where):
        raise InputError(
            f"there is no ledger at {named(where)}; run `gearline demo`, or name the data folder"
            " with --lake DIR or a database with --ledger URL"
        )
    return where
