"""The bundle of a fitted table: a folder of JSON pinned by hash, never a pickle.

``bundle.json`` lists the SHA-256 of ``tables/default.json``, ``calibration.json``,
``features.json`` and ``reference.json``, and says how the fit was made. ``bands.json``, for pictures,
is there where the fit had several bags.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from models.scorer import FloatTables
from training.table_encode import Encoder
from training.table_probability import ProbabilityMap

KIND: Final = "fitted table"
TABLE_FORMAT: Final = 1
BANDS: Final = "bands.json"
FILES: Final = ("calibration.json", "features.json", "reference.json", "tables/default.json")


@dataclass(frozen=True)
class TableBundle:
    """What ``gearline fit`` writes and ``gearline score`` reads.

    Attributes
    ----------
    encoder : features and their columns
    tables : the scorer
    calibration : from score to probability
    reference : joint counts of the rows that attributions are measured against
    fitted : how the fit was made: target, recipe, rows; no floats
    bands : spread of the bags' main effects, None where it is not known
    """

    encoder: Encoder
    tables: FloatTables
    calibration: ProbabilityMap
    reference: dict[str, Any]
    fitted: dict[str, Any]
    bands: dict[str, Any] | None = None

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every file but ``bundle.json``, in canonical form."""
        return {
            "calibration.json": canonical_bytes(self.calibration.to_json()),
            "features.json": canonical_bytes(self.encoder.to_json()),
            "reference.json": canonical_bytes(self.reference),
            "tables/default.json": canonical_bytes(self.tables.to_json()),
            **({} if self.bands is None else {BANDS: canonical_bytes(self.bands)}),
        }

    @cached_property
    def manifest(self) -> bytes:
        """``bundle.json``."""
        hashes = {name: sha256_hex(data) for name, data in self.files.items()}
        document = {"kind": KIND, "format": TABLE_FORMAT, "files": hashes, "fitted": self.fitted}
        return canonical_bytes(document)

    @property
    def sha256(self) -> str:
        """The bundle's hash."""
        return sha256_hex(self.manifest)

    def write(self, folder: Path) -> None:
        """Write the folder, ``bundle.json`` last."""
        for name, data in self.files.items():
            write_atomically(folder / name, data)
        write_atomically(folder / "bundle.json", self.manifest)

    @staticmethod
    def read(folder: Path) -> TableBundle:
        """Read a folder, checking every file against its hash.

        Raises
        ------
        InputError
            If it is no such bundle, or a file was changed.
        """
        path = folder / "bundle.json"
        if not path.is_file():
            raise InputError(
                f"{folder} is not a bundle: it has no bundle.json; make one with `gearline fit`"
            )
        try:
            manifest = orjson.loads(path.read_bytes())
            if manifest.get("kind") != KIND:
                raise InputError("it was not made by `gearline fit`; name a bundle that was")
            if manifest["format"] != TABLE_FORMAT:
                raise InputError(
                    f"it is of format {manifest['format']!r}; this version reads {TABLE_FORMAT}"
                )
            documents = {}
            held = (*FILES, BANDS) if BANDS in manifest["files"] else FILES
            for name in held:
                data = (folder / name).read_bytes()
                if sha256_hex(data) != manifest["files"][name]:
                    raise InputError(f"{name} is not what bundle.json was made from; restore it")
                documents[name] = orjson.loads(data)
            return TableBundle(
                Encoder.from_json(documents["features.json"]),
                FloatTables.from_json(documents["tables/default.json"]),
                ProbabilityMap.from_json(documents["calibration.json"]),
                documents["reference.json"],
                manifest["fitted"],
                documents.get(BANDS),
            )
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            what = "" if isinstance(error, InputError) else "the bundle is damaged: "
            raise InputError(f"{folder}: {what}{error}") from None
