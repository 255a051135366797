"""The bundle: a folder of JSON with all that was learned, pinned by hash.

``bundle.json`` lists the SHA-256 of every other file; the bundle's own hash is over those. Never a
pickle: every number in it can be read, diffed, plotted and signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.units import IntArray
from models.calibration import Calibration
from models.reasons import CATALOGUE
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables, monotone_violations

BUNDLE_FORMAT: Final = 1
DECIDING_HEAD: Final = "default_60"
BUNDLE_FOLDER: Final = "bundle"
"""Where a lake keeps the scorer of its clients."""
APPLICATION_FOLDER: Final = "bundle-application"
"""Beside it the scorer of an ``application`` set, for those without an account."""
KEPT_FOLDER: Final = "bundles"
"""Bundles that were made elsewhere, each in a folder named by the first 16 digits of its hash."""


class BundleUnknownError(InputError):
    """A hash that no bundle of the lake has."""


def _listed(manifest: bytes) -> dict[str, Any]:
    """File hashes in a ``bundle.json`` that may itself be damaged."""
    try:
        files = orjson.loads(manifest)["files"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


@dataclass(frozen=True)
class Bundle:
    """Tables, calibration, tiers, features and reference of one fitted scorer.

    Attributes
    ----------
    head : the ``default_60`` tables
    calibration : score to PD
    tier_edges : int64, six ascending PDs in 1e-9
    features : names, quantum, direction, family and texts of the feature set, in set order
    reference : what the attributions are measured against: rows, period, hash, and, which bundles
        before them do not have, ``joint``, the counts in each cell of each table, and ``monitor``,
        cells of score and features for drift (``models.stability``)
    """

    head: AdditiveTables
    calibration: Calibration
    tier_edges: IntArray
    features: dict[str, Any]
    reference: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.tier_edges) != 6 or bool(np.any(np.diff(self.tier_edges) <= 0)):
            raise InputError("tiers: six ascending PD edges are needed for seven tiers")
        if self.head.n_features != len(self.names):
            raise InputError(
                f"the tables are over {self.head.n_features} features,"
                f" the feature set has {len(self.names)}"
            )
        unknown = sorted({f for f in self.families if f"factor_{f}" not in CATALOGUE})
        if unknown:
            raise InputError(
                f"features of family {unknown[0]!r} have no reason; add factor_{unknown[0]} to the"
                " catalogue"
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names in set order."""
        return tuple(f["name"] for f in self.features["features"])

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Reason family of each feature."""
        return tuple(f["family"] for f in self.features["features"])

    @property
    def directions(self) -> tuple[int, ...]:
        """+1 where higher is riskier, -1 where lower is, 0 where free."""
        return tuple(int(f["direction"]) for f in self.features["features"])

    @property
    def feature_set_sha256(self) -> str:
        """Hash of the feature set's declarations."""
        return str(self.features["feature_set_sha256"])

    @property
    def reference_sha256(self) -> str:
        """Hash of the reference population."""
        return str(self.reference["sha256"])

    @cached_property
    def joint_reference(self) -> Reference | None:
        """The reference counts of each table, None in a bundle that does not hold them."""
        document = self.reference.get("joint")
        if document is None:
            return None
        joint = Reference.from_json(document)
        if [c.shape for c in joint.counts] != [e.score.shape for e in self.head.effects]:
            raise InputError("the reference counts are of other tables than the bundle's")
        return joint

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The bundle's files but ``bundle.json``, in canonical form."""
        return {
            "calibration.json": canonical_bytes(self.calibration.to_json()),
            "features.json": canonical_bytes(self.features),
            "reference.json": canonical_bytes(self.reference),
            f"tables/{self.head.head}.json": canonical_bytes(self.head.to_json()),
            "tiers.json": canonical_bytes({"unit": "1e-9", "edges": self.tier_edges.tolist()}),
        }

    @cached_property
    def manifest(self) -> bytes:
        """``bundle.json``: the hash of every file."""
        return canonical_bytes(
            {"format": BUNDLE_FORMAT, "files": {n: sha256_hex(d) for n, d in self.files.items()}}
        )

    @cached_property
    def sha256(self) -> str:
        """The hash that every decision of this bundle carries."""
        return sha256_hex(self.manifest)

    def breaches(self) -> list[Any]:
        """Where the tables break a declared direction; each is a witness."""
        return list(monotone_violations(self.head, self.directions))

    def check_monotone(self) -> None:
        """Refuse tables that break a declared direction, naming the witness."""
        witnesses = self.breaches()
        if witnesses:
            raise InputError(
                f"the scorer tables are not monotone: {witnesses[0]}; refit with constraints"
            )

    def write(self, folder: Path) -> None:
        """Write the bundle folder, ``bundle.json`` last."""
        for name, data in self.files.items():
            write_atomically(folder / name, data)
        write_atomically(folder / "bundle.json", self.manifest)

    @staticmethod
    def read(folder: Path, *, verify: bool = True) -> Bundle:
        """Read a bundle folder.

        With ``verify`` a file that is not the one ``bundle.json`` was made from is refused; replay
        reads without it, because there the difference is the finding.
        """
        path = folder / "bundle.json"
        if not path.is_file():
            raise InputError(
                f"{folder} is not a bundle: it has no bundle.json; make one with `gearline train`"
            )
        try:
            head = orjson.loads((folder / "tables" / f"{DECIDING_HEAD}.json").read_bytes())
            bundle = Bundle(
                head=AdditiveTables.from_json(head),
                calibration=Calibration.from_json(
                    orjson.loads((folder / "calibration.json").read_bytes())
                ),
                tier_edges=np.array(
                    orjson.loads((folder / "tiers.json").read_bytes())["edges"], dtype=np.int64
                ),
                features=orjson.loads((folder / "features.json").read_bytes()),
                reference=orjson.loads((folder / "reference.json").read_bytes()),
            )
        except (OSError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            what = "" if isinstance(error, InputError) else "the bundle is damaged: "
            raise InputError(f"{folder}: {what}{error}") from None
        if verify and bundle.manifest != path.read_bytes():
            listed = _listed(path.read_bytes())
            changed = [n for n, d in bundle.files.items() if listed.get(n) != sha256_hex(d)]
            raise InputError(
                f"{folder}: {', '.join(changed) or 'bundle.json'} is not what bundle.json was made"
                " from; restore the bundle or register the changed one as a new bundle"
            )
        return bundle


def kept_bundle(root: Path, sha256: str) -> Path:
    """The folder of a lake that holds the bundle with a hash.

    That is the lake's own bundle, the one for applicants, or one kept under its hash.

    Raises
    ------
    BundleUnknownError
        If the lake has no such bundle.
    InputError
        If the folder named by the hash holds other bytes.
    """
    named = (root / KEPT_FOLDER / sha256, root / KEPT_FOLDER / sha256[:16])
    for folder in (*named, root / BUNDLE_FOLDER, root / APPLICATION_FOLDER):
        manifest = folder / "bundle.json"
        if not manifest.is_file():
            continue
        found = sha256_hex(manifest.read_bytes())
        if found == sha256:
            return folder
        if folder in named:
            raise InputError(
                f"{folder.relative_to(root)} holds the bundle {found[:16]}, not the pinned"
                f" {sha256[:16]}; restore it"
            )
    raise BundleUnknownError(
        f"the lake has no bundle with hash {sha256[:16]}; keep it under"
        f" {KEPT_FOLDER}/{sha256[:16]} first"
    )
