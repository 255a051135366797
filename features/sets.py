"""Versioned feature sets. A changed declaration changes the hash of every set that lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from features import definitions
from features.declare import REGISTRY, Feature


@dataclass(frozen=True)
class FeatureSet:
    """An ordered list of features under a name and version, for example ``behavioural/1``."""

    name: str
    version: int
    features: tuple[Feature, ...]

    @property
    def label(self) -> str:
        """Name and version as written in frames and bundles."""
        return f"{self.name}/{self.version}"

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names in order."""
        return tuple(f.name for f in self.features)


def feature_set_sha256(feature_set: FeatureSet) -> str:
    """SHA-256 over the canonical JSON of the set's label and declarations, docstrings included."""
    document = {
        "feature_set": feature_set.label,
        "features": [f.declaration() for f in feature_set.features],
    }
    return sha256_hex(canonical_bytes(document))


def feature_set(label: str) -> FeatureSet:
    """A set by its label.

    Raises
    ------
    InputError
        If this version of the code has no such set.
    """
    for known in FEATURE_SETS:
        if known.label == label:
            return known
    labels = ", ".join(s.label for s in FEATURE_SETS)
    raise InputError(f"feature set {label!r} is not in this version; it has {labels}")


_FIRST: Final = ("history", "kyc", "market", "portfolio", "risk", "trading")


def _of(*modules: str) -> tuple[Feature, ...]:
    """The features of some modules in this order, whatever imported which first."""
    return tuple(
        f
        for name in modules
        for f in REGISTRY.values()
        if f.function.__module__ == f"{definitions.__name__}.{name}"
    )


_ALL: Final = _of(*_FIRST)

APPLICATION: Final = FeatureSet("application", 1, tuple(f for f in _ALL if f.group == "kyc"))
"""For a client without history: what was stated and what a bureau says."""

BEHAVIOURAL: Final = FeatureSet("behavioural", 1, _ALL)
"""For a client with an account: everything of the first version."""

FLOWS: Final = FeatureSet("flows", 1, _of("flows"))
"""What follows from the fills alone; the full and the nightly build make it from tallies."""

BEHAVIOURAL_2: Final = FeatureSet("behavioural", 2, (*_ALL, *_of("flows", "costs")))
"""The second version: the first, the flows, costs, loans and results over a year."""

BEHAVIOURAL_3: Final = FeatureSet("behavioural", 3, (*_ALL, *_of("flows", "costs", "securities")))
"""The third version: the second, and what the names held are like, where the lake tells."""

FEATURE_SETS: Final = (APPLICATION, BEHAVIOURAL, BEHAVIOURAL_2, BEHAVIOURAL_3, FLOWS)
