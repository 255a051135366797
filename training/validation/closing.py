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

WALK: Final[tuple[tuple[str, Text, str], ...]] = (
    ("SR 26-2 / OCC 2026-13", Text("inventory, materiality = exposure x purpose; model or rule", "清单、重要性 = 敞口 × 用途；模型或规则"), "inventory"),
    ("SR 26-2 / OCC 2026-13", Text("conceptual soundness; effective challenge", "概念合理性；有效质疑"), "soundness, benchmark"),
    ("SR 26-2 / OCC 2026-13", Text("outcomes analysis, ongoing monitoring", "结果分析、持续监测"), "discrimination, calibration, stability, regimes, prices"),
    ("SR 11-7 (superseded), V.1", Text("evaluation of conceptual soundness", "概念合理性评估"), "soundness, data, explanation"),
    ("SR 11-7 (superseded), V.2", Text("ongoing monitoring: process verification, benchmarking, overrides", "持续监测：流程核验、基准、推翻"), "proofs, benchmark, overrides, stability"),
    ("SR 11-7 (superseded), V.3", Text("outcomes analysis, back-testing", "结果分析、回测"), "discrimination, calibration, regimes"),
    ("ECB instructions 2019, 2.5.2-2.5.5", Text("PD statistics of the reporting template", "报告模板的 PD 统计"), "ecb"),
    ("ECB guide to internal models 2025, ML", Text("explainability; complexity justified by performance", "可解释性；复杂度须由表现证明"), "explanation, benchmark"),
    ("PRA SS1/23, principle 1", Text("identification and classification", "识别与分类"), "inventory"),
    ("PRA SS1/23, principle 3", Text("development, implementation and use", "开发、实施与使用"), "data, soundness, proofs"),
    ("PRA SS1/23, principle 4", Text("independent validation", "独立验证"), "findings"),
    ("PRA SS1/23, principle 5", Text("mitigants: limitations, restrictions on use", "缓释措施：局限、使用限制"), "limitations, findings"),
    ("EU AI Act, Annex IV 1-2", Text("description, elements and process of development", "描述、要素与开发过程"), "inventory, data, soundness"),
    ("EU AI Act, Annex IV 2(d)", Text("data: provenance, scope, characteristics", "数据：来源、范围、特征"), "data"),
    ("EU AI Act, Annex IV 2(g)", Text("validation and testing: metrics, robustness, discriminatory impacts", "验证与测试：指标、稳健性、歧视性影响"), "discrimination, calibration, robustness, resilience, fairness"),
    ("EU AI Act, Annex IV 3", Text("capabilities and limitations, human oversight", "能力与局限、人工监督"), "limitations, explanation, overrides"),
    ("EU AI Act, Annex IV 9", Text("post-market monitoring", "上市后监测"), "triggers"),
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
        "crosswalk": [{"text": t, "item": plain(i), "sections": s.split(", ")} for t, i, s in WALK],
    }
