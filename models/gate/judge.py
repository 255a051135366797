"""The verdict on a night: pass, hold for two people, or block. Pure: figures and bounds in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import format_decimal
from models.gate.bounds import Bound, Bounds

VERDICTS: Final = ("pass", "hold", "block")
"""From the mildest; a night's verdict is the worst of its rules."""
NOT_TESTED: Final = "not_tested"


@dataclass(frozen=True)
class Measured:
    """A figure of a night in its rule's unit, or None where it could not be had.

    ``detail`` names what is behind it, or why there is none: a symbol, a feature, a table.
    """

    value: int | None
    detail: str = ""


def shown(value: int | None, unit: str) -> str | None:
    """A figure as people read it: a ratio as a decimal, an integer as it is."""
    if value is None:
        return None
    return format_decimal(value, 6) if unit == "ratio" else str(value)


@dataclass(frozen=True)
class Ruling:
    """What one rule says of a night; ``status`` is a verdict or ``not_tested``."""

    rule: Bound
    measured: Measured
    status: str
    counts_as: str

    def to_json(self) -> dict[str, Any]:
        """The ruling with its value, bounds and way out."""
        r = self.rule
        return {
            "rule": r.name,
            "status": self.status,
            "counts_as": self.counts_as,
            "value": shown(self.measured.value, r.unit),
            "hold_above": shown(r.hold, r.unit),
            "block_above": shown(r.block, r.unit),
            "detail": self.measured.detail,
            "en": r.en,
            "zh": r.zh,
            "way_out_en": r.way_out_en,
            "way_out_zh": r.way_out_zh,
            "reference": r.reference,
        }


@dataclass(frozen=True)
class Verdict:
    """The verdict on a night and every ruling behind it."""

    verdict: str
    rulings: tuple[Ruling, ...]
    bounds_sha256: str

    @property
    def against(self) -> tuple[Ruling, ...]:
        """The rulings that made it no pass, the worst first."""
        found = [r for r in self.rulings if r.counts_as != "pass"]
        return tuple(sorted(found, key=lambda r: -VERDICTS.index(r.counts_as)))

    @property
    def untested(self) -> tuple[str, ...]:
        """Rules without a figure; a pass says nothing of these."""
        return tuple(r.rule.name for r in self.rulings if r.status == NOT_TESTED)

    def to_json(self) -> dict[str, Any]:
        """The verdict as it is kept and shown."""
        return {
            "verdict": self.verdict,
            "rules": [r.to_json() for r in self.rulings],
            "not_tested": list(self.untested),
            "bounds_sha256": self.bounds_sha256,
        }

    @property
    def sha256(self) -> str:
        """What an approval of a held night is bound to, beside the night itself."""
        return sha256_hex(canonical_bytes(self.to_json()))

    def why(self, language: str = "en") -> str:
        """One line a rule that held or blocked: rule, value, bound, way out."""
        lines = []
        for r in self.against:
            j = r.to_json()
            bound = j["block_above"] if r.counts_as == "block" else j["hold_above"]
            if language == "zh":
                value = "未检验" if j["value"] is None else f"{j['value']}，界限 {bound}"
                lines.append(
                    f"{r.counts_as} {r.rule.name}：{j['zh']}：{value}"
                    f"{'；' + j['detail'] if j['detail'] else ''}；{j['way_out_zh']}"
                )
            else:
                value = "not tested" if j["value"] is None else f"{j['value']}, bound {bound}"
                lines.append(
                    f"{r.counts_as} {r.rule.name}: {j['en']}: {value}"
                    f"{'; ' + j['detail'] if j['detail'] else ''}; {j['way_out_en']}"
                )
        return "\n".join(lines)


def _ruling(rule: Bound, measured: Measured) -> Ruling:
    value = measured.value
    if value is None:
        return Ruling(rule, measured, NOT_TESTED, rule.untested)
    if rule.block is not None and value > rule.block:
        return Ruling(rule, measured, "block", "block")
    status = "hold" if rule.hold is not None and value > rule.hold else "pass"
    return Ruling(rule, measured, status, status)


def judge(measured: Mapping[str, Measured], bounds: Bounds) -> Verdict:
    """Hold the figures of a night against the bounds.

    A figure that could not be had is ``not_tested``, whatever it counts as.

    Raises
    ------
    InputError
        If a rule has no figure at all, or a figure no rule: nothing is judged by omission.
    """
    strange = sorted(set(measured) ^ set(bounds.rules))
    if strange:
        raise InputError(
            f"gate rule {strange[0]} is not both measured and bounded; measure it or write its"
            " bounds"
        )
    rulings = tuple(_ruling(rule, measured[name]) for name, rule in bounds.rules.items())
    worst = max((VERDICTS.index(r.counts_as) for r in rulings), default=0)
    return Verdict(VERDICTS[worst], rulings, bounds.sha256)
