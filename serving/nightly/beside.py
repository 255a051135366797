"""Challengers and shadows in the night: they decide on every client, and on nobody.

They work on the champion's first pass, market snapshot, limits and last published decisions, so
that what differs comes from the scorer alone. Their segments lie in folders of their own and are
sealed by entries of their own kind: nothing that publishes, enforces or replays a night looks
there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from data_contracts.case import Override
from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.lifecycle import CHALLENGER
from models.policy import Policy
from serving.ledger import Ledger, leaf_hash
from serving.ledger import root as merkle_root
from serving.nightly.columns import Before
from serving.nightly.partition import FirstPass, score_partition
from serving.nightly.segments import DECISIONS_FILE, parquet_bytes, segment_table

SEALED_KIND: Final = "challenger_segment"
"""What one model beside the champion decided of one bucket: file, root of its rows."""
BESIDE_FOLDER: Final = "beside"


@dataclass(frozen=True)
class Rival:
    """A model that decides beside the champion.

    Attributes
    ----------
    role : ``challenger`` or ``shadow``
    folder : where workers read the bundle: relative to the lake, or of a dry run on this machine
    """

    role: str
    bundle_sha256: str
    folder: str

    def to_json(self) -> dict[str, str]:
        """As the run's entry names it."""
        return {"role": self.role, "bundle": self.bundle_sha256, "bundle_path": self.folder}


def check_rivals(champion: Bundle, rivals: Sequence[tuple[Rival, Bundle]]) -> None:
    """Refuse models that cannot be compared with the champion on the same rows."""
    seen: set[str] = set()
    for rival, bundle in rivals:
        name = f"{rival.role} {rival.bundle_sha256[:16]}"
        if bundle.sha256 != rival.bundle_sha256:
            raise InputError(f"the bundle of {name} is another, {bundle.sha256[:16]}; restore it")
        if bundle.sha256 == champion.sha256:
            raise InputError(f"{name} is the champion of this night; name another bundle")
        if bundle.sha256 in seen:
            raise InputError(f"{name} is named twice; name it once")
        seen.add(bundle.sha256)
        if bundle.feature_set_sha256 != champion.feature_set_sha256:
            raise InputError(
                f"{name} reads features {bundle.features['feature_set']}"
                f" ({bundle.feature_set_sha256[:12]}), the champion"
                f" {champion.features['feature_set']} ({champion.feature_set_sha256[:12]}): they"
                " decide on the same rows; train it on the champion's feature set"
            )
        bundle.check_monotone()


def file_of(place: str, bundle_sha256: str, bucket: int) -> str:
    """The segment of a model beside the champion, relative to the lake."""
    return f"{place}/{BESIDE_FOLDER}/{bundle_sha256[:16]}/bucket={bucket:03d}/{DECISIONS_FILE}"


@dataclass(frozen=True)
class Beside:
    """What one model beside the champion decided of a bucket."""

    rival: Rival
    file: str
    file_sha256: str
    digests: list[bytes]


def decide_beside(
    bundle: Bundle,
    first: FirstPass,
    before: Before,
    overrides: Mapping[str, Override],
    policy: Policy,
    market: MarketSnapshot,
    *,
    run_id: str,
    currency: str,
    known_at: dt.datetime,
) -> tuple[bytes, list[bytes]]:
    """The segment file of another bundle on the champion's bucket, and its rows' hashes.

    Tiers are the bundle's own, the market's shift a tier is the champion's. The request's key names
    the bundle, so that no decision has a number of the champion's.
    """
    pd = bundle.calibration.of_score(bundle.head.score(first.rows.features))[0]
    made = score_partition(
        replace(first, own_tier=tier_of_pd(pd, bundle.tier_edges)), before, overrides, bundle,
        policy, market, run_id=f"{run_id}/{bundle.sha256[:16]}", currency=currency,
        known_at=known_at,
    )  # fmt: skip
    table = segment_table(made)
    return parquet_bytes(table), table["decision_sha256"].to_pylist()


def seal_beside(ledger: Ledger, run_id: str, bucket: int, found: Iterable[Beside]) -> None:
    """Record what models beside the champion decided; the same again adds nothing."""
    for one in found:
        body = {
            "run_id": run_id,
            "bucket": bucket,
            "role": one.rival.role,
            "bundle": one.rival.bundle_sha256,
            "file": one.file,
            "file_sha256": one.file_sha256,
            "rows": len(one.digests),
            "decisions_root": merkle_root([leaf_hash(d) for d in one.digests]).hex(),
        }
        key = f"{SEALED_KIND}/{run_id}/{one.rival.bundle_sha256[:16]}/{bucket}"
        ledger.append([{"kind": SEALED_KIND, "body": body}], idempotency_keys=[key])


def check_named(
    finished: Mapping[str, Any], started: Mapping[str, Any], asked: Sequence[Rival]
) -> None:
    """Refuse to say that a night is done which was decided without a model that was asked for."""
    had = {r["bundle"] for r in started.get("beside", [])}
    missing = [r for r in asked if r.role == CHALLENGER and r.bundle_sha256 not in had]
    if missing:
        raise InputError(
            f"run {finished['run_id']} was decided without {missing[0].bundle_sha256[:16]} beside"
            " it; a challenger joins a night that begins: decide as of another session"
        )


def bundle_at(base: Path, folder: str) -> Bundle:
    """A rival's bundle: in the lake, else on this machine."""
    inside = base / folder
    return Bundle.read(inside if (inside / "bundle.json").is_file() else Path(folder))
