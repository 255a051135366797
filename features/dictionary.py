"""The feature dictionary as a page, generated from the declarations."""

from __future__ import annotations

from typing import Final

from features.declare import Feature
from features.sets import APPLICATION, BEHAVIOURAL, feature_set_sha256

DIRECTIONS: Final = {1: "higher is riskier", -1: "lower is riskier", 0: "left free"}


def dictionary_markdown() -> str:
    """The page ``docs/features.md``."""
    lines = [
        "# Features",
        "",
        "Generated from the declarations in `features/definitions/`; do not edit by hand. A",
        "feature sees only what was known at 18:00 market time of the as-of session. Values are",
        "clipped to their bounds and quantised once; an undefined value is null.",
        "",
        "| set | features | SHA-256 of the declarations |",
        "|---|---|---|",
    ]
    for feature_set in (APPLICATION, BEHAVIOURAL):
        digest = feature_set_sha256(feature_set)
        lines.append(f"| `{feature_set.label}` | {len(feature_set.features)} | `{digest}` |")
    for feature in BEHAVIOURAL.features:
        lines += ["", *_entry(feature)]
    return "\n".join(lines) + "\n"


def _entry(feature: Feature) -> list[str]:
    sets = [s.label for s in (APPLICATION, BEHAVIOURAL) if feature.name in s.names]
    window = f"{feature.window_sessions} sessions" if feature.window_sessions else "latest state"
    return [
        f"## {feature.name}",
        "",
        f"{feature.en} · {feature.zh}",
        "",
        feature.description,
        "",
        f"- unit: {feature.unit}; stored in steps of 1/{feature.one}",
        f"- bounds: {feature.low:,} to {feature.high:,}",
        f"- window: {window}",
        f"- direction: {DIRECTIONS[feature.direction]}",
        f"- null: {feature.missing}",
        f"- family {feature.family}, group {feature.group}; in {', '.join(sets)}",
        f"- evidence: {feature.evidence}",
    ]
