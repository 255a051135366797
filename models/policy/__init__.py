"""Policy packs: dated law and house rules as YAML, and the policy in force on a date."""

from models.policy.pack import PACK_NAMES, Pack, Policy, load_pack

__all__ = ["PACK_NAMES", "Pack", "Policy", "load_pack"]
