"""What is proved on the tables that serve, and whether explanations say what the model does."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from data_contracts.units import LOG_ODDS_ONE, FloatArray
from models.scorer import FloatTables
from models.scorer.limits import score_range
from models.scorer.tables import monotone_violations
from training.report.texts import Text
from training.validation.document import Finding, Section
from training.validation.material import Material
from training.validation.rules import ADDITIVITY
from training.validation.sections.common import column, figure, table

PROTECTED: Final = frozenset(
    {
        "age",
        "age_band",
        "sex",
        "gender",
        "region",
        "race",
        "ethnicity",
        "nationality",
        "religion",
        "marriage",
        "marital_status",
    }
)
ROWS: Final = 2000
NO_TABLES = Text("the model is not a set of tables", "模型不是查找表形式")


def _used(m: Material) -> list[str]:
    """Features that a table reads."""
    assert m.tables is not None
    tables = m.tables.tables if isinstance(m.tables, FloatTables) else m.tables
    if isinstance(m.tables, FloatTables):
        return [f.name for f in m.features] if tables.effects else []
    return sorted({m.features[f].name for e in tables.effects for f in e.features})


def proofs(m: Material) -> Section:
    """Monotone, bounded, free of protected inputs, and the same as what serves."""
    section = Section(
        "proofs",
        Text("Proofs", "证明"),
        Text(
            "Proved on the tables themselves, over all inputs and not on a sample. A violation names its witness.",
            "在查找表本身、对所有输入进行证明，而非抽样。若有违反则给出见证点。",
        ),
    )
    if m.tables is None:
        section.absent = NO_TABLES
        return section
    h = str(m.subject["model_sha256"])
    directions = tuple(m.subject["directions"])
    if isinstance(m.tables, FloatTables):
        broken, tables = m.tables.monotone_violations(directions), m.tables.tables
    else:
        broken, tables = monotone_violations(m.tables, directions), m.tables
    bounds = score_range(tables)
    declared = sum(d != 0 for d in directions)
    inside = [f for f in _used(m) if f.lower() in PROTECTED or f in m.protected]
    section.figures += [
        figure("directions", "Features with a declared direction", "声明单调方向的特征数", declared, monotone_violations, h, "count"),
        figure("monotone_violations", "Violations of a direction over all inputs", "全部输入上的方向违反数", len(broken), monotone_violations, h, "count"),
        figure("score_low", "Least score over all inputs, log-odds", "全部输入的最低评分（对数几率）", bounds.low / LOG_ODDS_ONE, score_range, h),
        figure("score_high", "Greatest score over all inputs, log-odds", "全部输入的最高评分（对数几率）", bounds.high / LOG_ODDS_ONE, score_range, h),
        figure("range_exact", "The range is attained (1) or a bound (0)", "区间可达（1）或仅为界（0）", int(bounds.exact), score_range, h, "count"),
        figure("protected_inputs", "Protected attributes among the inputs", "输入中的受保护属性数", len(inside), proofs, h, "count"),
    ]  # fmt: skip
    section.points += [Text(w, w) for w in broken[:5]]
    if broken:
        section.findings.append(
            Finding("monotone", 4, Text(f"{len(broken)} violations of a declared direction; the first: {broken[0]}.", f"{len(broken)} 处违反声明方向；第一处：{broken[0]}。"), "developer", "proofs.monotone_violations")
        )  # fmt: skip
    if inside:
        section.findings.append(
            Finding("protected_path", 4, Text(f"Protected attributes are inputs: {', '.join(inside)}.", f"受保护属性被用作输入：{'、'.join(inside)}。"), "compliance", "proofs.protected_inputs")
        )  # fmt: skip
    if m.served is not None:
        compared, different = m.served
        section.figures += [
            figure("served_compared", "Stored scores computed again", "重算的已存评分数", compared, proofs, h, "count"),
            figure("served_different", "of them, different", "其中不一致", different, proofs, h, "count"),
        ]  # fmt: skip
        if different:
            section.findings.append(
                Finding("served", 4, Text(f"{different} of {compared} stored scores differ from the validated tables'.", f"{compared} 个已存评分中有 {different} 个与被验证模型不一致。"), "operations", "proofs.served_different")
            )  # fmt: skip
    else:
        section.points.append(
            Text(
                "Served = validated: not applicable, no decision of this model is stored in these data; the model's hash is on the first page.",
                "“服务模型 = 被验证模型”：不适用，数据中没有该模型的已存决定；模型哈希见首页。",
            )
        )
    return section


def explanation(m: Material) -> Section:
    """Do the attributions add up, and do reasons stay when inputs hardly move?"""
    v = m.validation
    section = Section(
        "explanation",
        Text("Explanation", "解释验证"),
        Text(
            "Attributions are interventional Shapley values against the bundle's reference population, exact and in log-odds. Stability: the share of the first (and of the four first) adverse reasons that stay under noise of 0.05 standard deviations.",
            "归因为相对参照人群的干预式 Shapley 值，精确且以对数几率计。稳定性：加入 0.05 个标准差噪声后首要（及前四项）不利理由保持不变的比例。",
        ),
    )
    if m.tables is None or m.subject.get("explain") is None:
        section.absent = NO_TABLES
        return section
    explain = m.subject["explain"]
    rows = np.unique(np.linspace(0, len(v) - 1, min(ROWS, len(v))).astype(int))
    x = v.features[rows]
    score, base, phi = explain(x)
    gap = float(np.abs(base + phi.sum(axis=1) - score).max())
    spread = np.array(
        [
            0.0
            if f.is_category or not bool(np.isfinite(m.development.features[:, k]).any())
            else float(np.nanstd(m.development.features[:, k]))
            for k, f in enumerate(m.features)
        ]
    )
    rng = np.random.default_rng([m.seed, 5])
    _, _, moved = explain(x + rng.standard_normal(x.shape) * spread * 0.05)

    def leading(parts: FloatArray, count: int) -> Any:
        return np.argsort(-parts, axis=1, kind="stable")[:, :count]

    adverse = phi.max(axis=1) > 0
    first = float((leading(phi, 1) == leading(moved, 1))[adverse].mean()) if adverse.any() else None
    four, again = leading(phi, min(4, phi.shape[1])), leading(moved, min(4, phi.shape[1]))
    kept = (
        float(
            np.mean(
                [
                    len(set(a) & set(b)) / four.shape[1]
                    for a, b in zip(four[adverse].tolist(), again[adverse].tolist(), strict=True)
                ]
            )
        )
        if adverse.any()
        else None
    )
    h = v.sha256
    section.figures += [
        figure("explained", "Cases explained", "解释的样本数", len(rows), explanation, h, "count"),
        figure("additivity", "Largest gap between base + attributions and score", "基准加归因与评分的最大差距", gap, explanation, h),
        figure("top1", "First reason unchanged under noise", "噪声下首要理由不变", first, explanation, h, "ratio"),
        figure("top4", "Overlap of the four first reasons under noise", "噪声下前四项理由重合度", kept, explanation, h, "ratio"),
    ]  # fmt: skip
    order = np.argsort(-np.abs(phi).mean(axis=0), kind="stable")[:12]
    section.tables.append(
        table(
            "importance",
            "Mean size of each feature's attribution, log-odds",
            "各特征归因的平均幅度（对数几率）",
            [
                column("feature", "Feature", "特征", "text"),
                column("size", "mean |φ|", "平均 |φ|"),
                column("adverse", "cases where it is adverse", "不利样本占比", "ratio"),
            ],
            [
                [m.features[k].text, float(np.abs(phi[:, k]).mean()), float((phi[:, k] > 0).mean())]
                for k in order
            ],
            explanation,
            h,
        )
    )
    if gap > ADDITIVITY:
        section.findings.append(
            Finding("additivity", 4, Text(f"Attributions miss a score by {gap:.2g}.", f"归因之和偏离评分 {gap:.2g}。"), "developer", "explanation.additivity")
        )  # fmt: skip
    return section
