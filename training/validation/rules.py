"""Thresholds fixed before any data is seen, and the rules that turn a figure into a finding.

A finding needs both: a p-value below ``LEVEL`` (so clean books raise few, at a known rate) and an
effect that matters (so large books do not raise trifles). Proofs need neither: they hold or fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from training.report.texts import Text

LEVEL: Final = 0.01
"""Level of each test that may raise a finding."""
CORRELATION: Final = 0.12
"""Asset correlation of the correlated binomial test: between Basel's 0.03 and 0.16 for other retail."""
RATIO_MINOR, RATIO_MAJOR, RATIO_SEVERE = 0.05, 0.10, 0.30
"""Distance of events over expected events from 1."""
SLOPE_BAND: Final = (0.80, 1.25)
AUC_DROP: Final = 0.03
OVERFIT_GAP: Final = 0.05
WORSE_THAN_SIMPLE: Final = 0.01
PSI_MAJOR: Final = 0.25
IMPLAUSIBLE_AUC: Final = 0.95
SEGMENT_RATIO: Final = 1.5
LEAST_EVENTS: Final = 10
"""Expected events that a slice must have to be judged."""
IMPACT_RATIO: Final = 0.80
"""Least approval rate of a group over that of the most approved one: the four-fifths screen."""
OVERRIDE_RATE: Final = 0.10
ADDITIVITY: Final = 1e-9
NOISE: Final = 0.10
"""Standard deviations of noise that robustness adds to each number."""
NOISE_DROP: Final = 0.05


@dataclass(frozen=True)
class Rule:
    """A rule of the report, in words."""

    text: Text
    severity: str


RULES: Final[dict[str, Rule]] = {
    "calibration": Rule(
        Text(
            f"Events over expected differ from 1: p < {LEVEL}, and by more than {RATIO_MINOR:.0%} (minor), {RATIO_MAJOR:.0%} (major) or {RATIO_SEVERE:.0%} (severe).",
            f"实际与预期事件之比偏离 1：p < {LEVEL}，且偏离超过 {RATIO_MINOR:.0%}（轻微）、{RATIO_MAJOR:.0%}（重大）或 {RATIO_SEVERE:.0%}（严重）。",
        ),
        "2-4",
    ),
    "calibration_slope": Rule(
        Text(
            f"Cox's slope lies outside {SLOPE_BAND[0]} to {SLOPE_BAND[1]} with p < {LEVEL}.",
            f"Cox 斜率在 {SLOPE_BAND[0]} 至 {SLOPE_BAND[1]} 之外且 p < {LEVEL}。",
        ),
        "3",
    ),
    "discrimination": Rule(
        Text(
            f"AUC on grades fell by more than {AUC_DROP} since initial validation with p < {LEVEL}, by the ECB's one-sided test and by the two-sided one that takes both as estimates.",
            f"等级 AUC 较初次验证下降超过 {AUC_DROP}，且欧洲央行单侧检验与两者均视为估计的双侧检验 p 均 < {LEVEL}。",
        ),
        "3",
    ),
    "leakage": Rule(
        Text(
            f"A single feature has an AUC above {IMPLAUSIBLE_AUC}, or its reverse: it probably knows the outcome.",
            f"单一特征 AUC 高于 {IMPLAUSIBLE_AUC}（或其反向）：很可能已包含结果信息。",
        ),
        "4",
    ),
    "flipped": Rule(
        Text(
            f"A feature ranks one way in development and the other way in validation, each with p < {LEVEL} after Holm's correction.",
            f"某特征在开发样本与验证样本中排序方向相反，经 Holm 校正后均 p < {LEVEL}。",
        ),
        "3",
    ),
    "drift": Rule(
        Text(
            f"PSI above {PSI_MAJOR} with p < {LEVEL}: of a feature (minor) or of the grades (major).",
            f"PSI 高于 {PSI_MAJOR} 且 p < {LEVEL}：特征（轻微）或等级分布（重大）。",
        ),
        "2-3",
    ),
    "weak_spot": Rule(
        Text(
            f"A slice has more than {SEGMENT_RATIO} times its expected events, or fewer than a {SEGMENT_RATIO:g}th, with p < {LEVEL} after Holm's correction over all slices.",
            f"某分层的实际事件超过预期 {SEGMENT_RATIO} 倍或不足其 1/{SEGMENT_RATIO:g}，对全部分层作 Holm 校正后 p < {LEVEL}。",
        ),
        "3",
    ),
    "robustness": Rule(
        Text(
            f"Noise of {NOISE} standard deviations on every number lowers the AUC by more than {NOISE_DROP}.",
            f"对各数值加入 {NOISE} 个标准差的噪声后 AUC 下降超过 {NOISE_DROP}。",
        ),
        "2",
    ),
    "overfit": Rule(
        Text(
            f"AUC in development exceeds that in validation by more than {OVERFIT_GAP} with p < {LEVEL}.",
            f"开发样本 AUC 高于验证样本超过 {OVERFIT_GAP} 且 p < {LEVEL}。",
        ),
        "2",
    ),
    "benchmark": Rule(
        Text(
            f"A simple benchmark ranks better by more than {WORSE_THAN_SIMPLE} with p < {LEVEL}.",
            f"简单基准模型的排序能力高出 {WORSE_THAN_SIMPLE} 以上且 p < {LEVEL}。",
        ),
        "3",
    ),
    "fairness": Rule(
        Text(
            f"A group's approval rate is below {IMPACT_RATIO} of the most approved group's with p < {LEVEL}.",
            f"某群体通过率低于最高群体的 {IMPACT_RATIO} 且 p < {LEVEL}。",
        ),
        "3",
    ),
    "overrides": Rule(
        Text(
            f"More than {OVERRIDE_RATE:.0%} of decisions are overridden (minor), or favour depends on the group of clients or on the reviewer with p < {LEVEL} (major).",
            f"人工推翻超过 {OVERRIDE_RATE:.0%}（轻微），或有利推翻与客户群体或审查人相关且 p < {LEVEL}（重大）。",
        ),
        "2-3",
    ),
    "monotone": Rule(
        Text(
            "The tables break a declared direction.",
            "模型表违反已声明的单调方向。",
        ),
        "4",
    ),
    "protected_path": Rule(
        Text("A protected attribute is an input.", "受保护属性被用作输入。"), "4"
    ),
    "served": Rule(
        Text(
            "A stored score differs from the validated tables'.",
            "已存储评分与被验证模型的结果不一致。",
        ),
        "4",
    ),
    "additivity": Rule(
        Text(
            f"Base and attributions miss a score by more than {ADDITIVITY:g}.",
            f"基准与归因之和偏离评分超过 {ADDITIVITY:g}。",
        ),
        "4",
    ),
    "price_order": Rule(
        Text(
            "On the same nights a worse grade pays less than a better one, by more than half a basis point and, over four nights or more, with p < 0.01.",
            "同一日内较差等级利率低于较好等级超过 0.5 基点，且四日及以上时 p < 0.01。",
        ),
        "3",
    ),
}
