"""Policy packs: dated law and house rules as YAML, and the policy in force on a date."""

from models.policy.pack import (
    CONTRACTS,
    PACK_NAMES,
    STRESS_ONLY,
    Pack,
    Policy,
    load_pack,
    refuse_contracts,
    refuse_without_law,
)

__all__ = [
    "CONTRACTS", "PACK_NAMES", "STRESS_ONLY", "Pack", "Policy", "load_pack", "refuse_contracts",
    "refuse_without_law",
]  # fmt: skip
