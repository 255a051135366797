"""Where a lake keeps what the serving side writes, and what every verb here answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError

LEDGER_FILE: Final = "ledger.sqlite"
CHECKPOINTS_FILE: Final = "ledger.checkpoints"
KEY_FILE: Final = "keys/ledger.key"
BUNDLE_FOLDER: Final = "bundle"
KEPT_BUNDLES: Final = "bundles"

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
"""Exit code, the document of ``--json``, and the text for a person."""


def existing_ledger(root: Path) -> Path:
    """The lake's ledger, or one error that says how to get one or name another lake."""
    path = root / LEDGER_FILE
    if not path.is_file():
        raise InputError(
            f"there is no ledger at {path}; run `gearline demo`, or name the data folder with"
            " --lake DIR"
        )
    return path
