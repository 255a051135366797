"""Policy packs: dated law and house rules as YAML, and the policy in force on a date."""

from models.policy.pack import (
    PACK_NAMES,
    STRESS_ONLY,
    Pack,
    Policy,
    load_pack,
    refuse_without_law,
)

__all__ = ["PACK_NAMES", "STRESS_ONLY", "Pack", "Policy", "load_pack", "refuse_without_law"]
