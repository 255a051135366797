"""What follows the sections: rules, triggers of re-validation, and the cross-walk to supervisors' texts."""

from __future__ import annotations

from typing import Any, Final

from training.report.texts import Text
from training.validation.document import DUE_DAYS, plain
from training.validation.rules import RULES

TRIGGERS: Final = (
    Text("Any finding of severity 4, at once; of severity 3, when it falls due.", "出现严重（4）发现立即重新验证；重大（3）发现到期时重新验证。"),
    Text("PSI of the grades above 0.25 with p < 0.01 in monitoring.", "监测中等级 PSI 高于 0.25 且 p < 0.01。"),
    Text("Events over expected outside 0.9 to 1.1 with p < 0.01 over four periods.", "四个期间内实际/预期之比在 0.9 至 1.1 之外且 p < 0.01。"),
    Text("AUC on grades more than 0.03 below the initial one with p < 0.01.", "等级 AUC 较初始值下降超过 0.03 且 p < 0.01。"),
    Text("A changed bundle, feature set, reference population or policy pack; also when small changes add up (PRA SS1/23, principle 3).", "模型包、特征集、参照人群或规则包变更；多次小幅变更累积亦然（PRA SS1/23 原则 3）。"),
    Text("A new product, market or jurisdiction, or exposure doubled.", "新增产品、市场或辖区，或敞口翻倍。"),
    Text("Twelve months since the last validation of a material model, unless the lender's policy says otherwise; SR 26-2 sets no fixed period.", "重大模型距上次验证满十二个月（机构另有规定除外；SR 26-2 未设固定周期）。"),
)  # fmt: skip

WALK: Final[tuple[tuple[str, str, str], ...]] = (
    ("SR 26-2 / OCC 2026-13", "inventory, materiality = exposure x purpose; model or rule", "inventory"),
    ("SR 26-2 / OCC 2026-13", "conceptual soundness; effective challenge", "soundness, benchmark"),
    ("SR 26-2 / OCC 2026-13", "outcomes analysis, ongoing monitoring", "discrimination, calibration, stability, regimes, prices"),
    ("SR 11-7 (superseded), V.1", "evaluation of conceptual soundness", "soundness, data, explanation"),
    ("SR 11-7 (superseded), V.2", "ongoing monitoring: process verification, benchmarking, overrides", "proofs, benchmark, overrides, stability"),
    ("SR 11-7 (superseded), V.3", "outcomes analysis, back-testing", "discrimination, calibration, regimes"),
    ("ECB instructions 2019, 2.5.2-2.5.5", "PD statistics of the reporting template", "ecb"),
    ("ECB guide to internal models 2025, ML", "explainability; complexity justified by performance", "explanation, benchmark"),
    ("PRA SS1/23, principle 1", "identification and classification", "inventory"),
    ("PRA SS1/23, principle 3", "development, implementation and use", "data, soundness, proofs"),
    ("PRA SS1/23, principle 4", "independent validation", "all sections; findings"),
    ("PRA SS1/23, principle 5", "mitigants: limitations, restrictions on use", "limitations, findings"),
    ("EU AI Act, Annex IV 1-2", "description, elements and process of development", "inventory, data, soundness"),
    ("EU AI Act, Annex IV 2(d)", "data: provenance, scope, characteristics", "data"),
    ("EU AI Act, Annex IV 2(g)", "validation and testing: metrics, robustness, discriminatory impacts", "discrimination, calibration, robustness, resilience, fairness"),
    ("EU AI Act, Annex IV 3", "capabilities and limitations, human oversight", "limitations, explanation, overrides"),
    ("EU AI Act, Annex IV 9", "post-market monitoring", "triggers"),
)  # fmt: skip


def closing() -> dict[str, Any]:
    """Rules with their thresholds, due days, triggers and cross-walk, as the document holds them."""
    return {
        "rules": {
            key: {"text": plain(rule.text), "severity": rule.severity}
            for key, rule in RULES.items()
        },
        "grade_rule": plain(
            Text(
                "The overall grade is the severity of the worst finding (1 without any); three or more major findings are severe together.",
                "总体评级为最严重发现的等级（无发现为 1）；三项及以上重大发现合并视为严重。",
            )
        ),
        "due_days": {str(k): v for k, v in DUE_DAYS.items()},
        "triggers": [plain(t) for t in TRIGGERS],
        "crosswalk": [{"text": t, "item": i, "sections": s} for t, i, s in WALK],
    }
