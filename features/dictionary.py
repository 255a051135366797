"""The feature dictionary as a page, generated from the declarations."""

from __future__ import annotations

from typing import Final

from features.catalogue import CATALOGUE
from features.declare import Feature
from features.sets import BEHAVIOURAL_3, FEATURE_SETS, feature_set_sha256

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
    for feature_set in FEATURE_SETS:
        digest = feature_set_sha256(feature_set)
        lines.append(f"| `{feature_set.label}` | {len(feature_set.features)} | `{digest}` |")
    lines += [
        "",
        "## Catalogue",
        "",
        "What a lender against securities is expected to look at. An item without a feature, or",
        "of which a part is left out, says why.",
        "",
        "| # | item | features | left out |",
        "|---|---|---|---|",
    ]
    for item in CATALOGUE:
        names = ", ".join(f"`{name}`" for name in item.features) or "none"
        lines.append(f"| {item.number} | {item.en} · {item.zh} | {names} | {item.skipped} |")
    for feature in BEHAVIOURAL_3.features:
        lines += ["", *_entry(feature)]
    return "\n".join(lines) + "\n"


def _entry(feature: Feature) -> list[str]:
    sets = [s.label for s in FEATURE_SETS if feature.name in s.names]
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
