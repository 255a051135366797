"""What is in force, as documents: the policy, the models and the published night."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from data_contracts.decision import DECISION_ENGINE_VERSION
from models.policy import Policy, load_pack
from models.policy.pack import LEVELS
from serving.ledger import StoredEntry
from serving.service.world import World


def policy_in_force(policy: Policy, language: str) -> dict[str, Any]:
    """Every rule in force, the law first, with level, reference and since when."""
    parameters = policy.parameters
    zone = ZoneInfo(load_pack(policy.pack).zone)
    rows = [
        {
            "parameter": name,
            "level": parameters[name].level,
            "unit": parameters[name].unit,
            "values": list(value.values),
            "since": value.since.replace(tzinfo=zone).isoformat(),
            "reference": value.reference,
            "verified": value.verified,
            "text": getattr(parameters[name], language),
        }
        for name, value in policy.in_force.items()
    ]
    rows.sort(key=lambda r: (LEVELS.index(r["level"]), r["parameter"]))
    return {
        "pack": policy.pack,
        "currency": policy.currency,
        "effective_on": policy.effective_on.isoformat(),
        "sha256": policy.sha256,
        "parameters": rows,
    }


def models_in_force(world: World, releases: Sequence[StoredEntry]) -> dict[str, Any]:
    """The models in use with their review dates, and the published night."""
    return {
        "engine_version": DECISION_ENGINE_VERSION,
        "night": {
            "run_id": world.run_id,
            "as_of": world.started["as_of"],
            "effective_on": world.started["effective_on"],
            "market_sha256": world.market.sha256,
            "features_good_until": world.features.good_until.isoformat(),
            "stability_index": None if world.drift_e6 is None else f"{world.drift_e6 / 1e6:.6f}",
        },
        "models": [
            {
                "bundle_sha256": bundle.sha256,
                "feature_set": bundle.features["feature_set"],
                "for": purpose,
                "review_on": next(
                    (e.body["review_on"] for e in releases if e.body["bundle"] == bundle.sha256),
                    None,
                ),
            }
            for bundle, purpose in ((world.bundle, "clients"), (world.application, "applicants"))
            if bundle is not None
        ],
    }
