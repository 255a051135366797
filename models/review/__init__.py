"""Which decisions a person looks at: dated rules, what each found, who may decide how much.

Pure: a decision's own facts in, triggers out. The queue itself is ``serving.review``.
"""

from models.review.find import Looked, Trigger, find_triggers, hash_share, is_blind, trigger_text
from models.review.rules import (
    OVERRIDE_REASONS,
    RULES,
    OverrideReason,
    ReviewPolicy,
    Rule,
    load_review_rules,
)

__all__ = [
    "OVERRIDE_REASONS",
    "RULES",
    "Looked",
    "OverrideReason",
    "ReviewPolicy",
    "Rule",
    "Trigger",
    "find_triggers",
    "hash_share",
    "is_blind",
    "load_review_rules",
    "trigger_text",
]
