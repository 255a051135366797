"""Where a bundle comes from: the record of its training, and the hash of the data it learnt from.

``training.json`` lies beside ``bundle.json`` and is no part of the bundle: two trainings that come
to the same tables make the same bundle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.tables import TABLES

TRAINING_FILE: Final = "training.json"


def lake_sha256(root: Path) -> str:
    """One hash over every file of the contract tables of a lake, by path."""
    digest = hashlib.sha256()
    for name in sorted(TABLES):
        for path in sorted(p for p in (root / name).rglob("*.parquet") if p.is_file()):
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()} {found}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class TrainingRecord:
    """What made a bundle.

    Attributes
    ----------
    bundle_sha256 : of the bundle it made
    recipe : every setting of the fit that is no data: integers, strings, and numbers as text
    data_sha256 : of the lake's tables or the file that it learnt from
    seed : of all that was random
    """

    bundle_sha256: str
    recipe: Mapping[str, Any]
    data_sha256: str
    seed: int

    @property
    def recipe_sha256(self) -> str:
        """Hash of the recipe and the seed."""
        return sha256_hex(canonical_bytes({"recipe": dict(self.recipe), "seed": self.seed}))

    def to_json(self) -> dict[str, Any]:
        """The record as it is written."""
        return {
            "bundle_sha256": self.bundle_sha256,
            "recipe": dict(self.recipe),
            "recipe_sha256": self.recipe_sha256,
            "data_sha256": self.data_sha256,
            "seed": self.seed,
        }

    def write(self, bundle: Path) -> None:
        """Write it beside a bundle's files."""
        write_atomically(bundle / TRAINING_FILE, canonical_bytes(self.to_json()))

    @staticmethod
    def read(bundle: Path, bundle_sha256: str) -> TrainingRecord:
        """The record beside a bundle.

        Raises
        ------
        InputError
            If there is none, it is damaged, or it is of another bundle.
        """
        path = bundle / TRAINING_FILE
        if not path.is_file():
            raise InputError(
                f"{bundle} has no {TRAINING_FILE}: it is not known which recipe and data made it;"
                " train it with `gearline train`, which writes one"
            )
        try:
            document = orjson.loads(path.read_bytes())
            found = TrainingRecord(
                str(document["bundle_sha256"]),
                dict(document["recipe"]),
                str(document["data_sha256"]),
                int(document["seed"]),
            )
            same = document["recipe_sha256"] == found.recipe_sha256
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise InputError(f"{path} is damaged; restore it or train again") from None
        if not same:
            raise InputError(f"{path}: the recipe is not the one its hash is of; train again")
        if found.bundle_sha256 != bundle_sha256:
            raise InputError(
                f"{path} is of bundle {found.bundle_sha256[:16]}, beside it lies"
                f" {bundle_sha256[:16]}; restore the record or train again"
            )
        return found


def settled(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without floats, so that it hashes the same everywhere: they become shortest text."""
    return {k: repr(v) if isinstance(v, float) else v for k, v in sorted(recipe.items())}
