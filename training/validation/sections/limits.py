"""What the model is, what it was given, and what neither says."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.report.texts import Text, same
from training.validation.document import Section
from training.validation.material import Material
from training.validation.sections.common import column, figure, table

SUBJECT_TEXTS = {
    "name": Text("Model", "模型"),
    "purpose": Text("Purpose", "用途"),
    "target": Text("Outcome", "结果变量"),
    "kind": Text("Kind", "类型"),
    "owner": Text("Owner (role)", "负责人（角色）"),
    "exposure": Text("Exposure", "敞口"),
    "materiality": Text("Materiality", "重要性"),
    "upstream": Text("Upstream", "上游"),
    "downstream": Text("Downstream", "下游"),
    "model_sha256": Text("Hash of the model", "模型哈希"),
    "data_sha256": Text("Hash of the data", "数据哈希"),
}


def inventory(m: Material) -> Section:
    """The inventory record, and what is a model here and what is a rule."""
    section = Section(
        "inventory",
        Text("Inventory and materiality", "清单与重要性"),
        Text(
            "Materiality is exposure times purpose. The pricing grid and the limits of law are deterministic rules and no model (SR 26-2); the probability of default that feeds them is one, and it is what is validated here.",
            "重要性为敞口与用途之积。定价网格与法定限额为确定性规则，不属于模型（SR 26-2）；其所依据的违约概率属于模型，即本报告的验证对象。",
        ),
    )
    rows = [
        [text, m.subject[k] if isinstance(m.subject[k], Text) else same(str(m.subject[k]))]
        for k, text in SUBJECT_TEXTS.items()
        if m.subject.get(k) is not None
    ]
    section.tables.append(
        table("record", "Inventory record", "清单记录", [column("what", "What", "项目", "text"), column("value", "Value", "内容", "text")], rows, inventory, str(m.subject["model_sha256"]))
    )  # fmt: skip
    return section


def data(m: Material) -> Section:
    """Samples, how they are apart, missing values, repeated rows."""
    d, v = m.development, m.validation
    section = Section("data", Text("Data", "数据"), m.split)
    rows = []
    for name, sample in (
        (Text("development", "开发"), d),
        (Text("validation", "验证"), v),
        (Text("initial validation", "初次验证"), m.initial),
    ):
        missing = float(np.isnan(sample.features).mean()) if sample.features.size else None
        rows.append(
            [
                name,
                len(sample),
                int(sample.label.sum()),
                float(sample.label.mean()) if len(sample) else None,
                missing,
                None if sample.unit is None else len(np.unique(sample.unit)),
                sample.sha256,
            ]
        )
    section.tables.append(
        table(
            "samples",
            "Samples",
            "样本",
            [
                column("sample", "Sample", "样本", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("events", "Events", "事件数", "count"),
                column("rate", "Event rate", "事件率", "ratio"),
                column("missing", "missing values", "缺失率", "ratio"),
                column("units", "independent units", "独立单元", "count"),
                column("sha256", "Hash", "哈希", "hash"),
            ],
            rows,
            data,
            v.sha256,
        )
    )
    before = {r.tobytes() for r in np.ascontiguousarray(d.features)} if len(d) else set()
    repeated = sum(r.tobytes() in before for r in np.ascontiguousarray(v.features))
    section.figures.append(
        figure("repeated", "Validation rows whose features also stand in development", "特征与开发样本完全相同的验证行", repeated, data, v.sha256, "count")
    )  # fmt: skip
    by_feature: list[list[Any]] = [
        [
            f.text,
            float(np.isnan(d.features[:, k]).mean()) if len(d) else None,
            float(np.isnan(v.features[:, k]).mean()),
        ]
        for k, f in enumerate(m.features)
    ]
    if any((r[1] or 0) > 0 or r[2] > 0 for r in by_feature):
        section.tables.append(
            table("missing", "Missing values by feature", "各特征缺失率", [column("feature", "Feature", "特征", "text"), column("before", "development", "开发", "ratio"), column("after", "validation", "验证", "ratio")],
                  [r for r in by_feature if (r[1] or 0) > 0 or r[2] > 0], data, v.sha256)
        )  # fmt: skip
    section.points += list(m.subject.get("data_points", ()))
    return section


def limitations(m: Material) -> Section:
    """What the figures do not say."""
    section = Section(
        "limitations",
        Text("Limitations and conditions of use", "局限与使用条件"),
        Text("What no figure of this report says.", "本报告数字所不能说明的事项。"),
    )
    section.points += [
        *m.subject.get("limitations", ()),
        Text("p-values take cases as independent unless the text says otherwise; defaults that share a market are not, and the correlated binomial test says how much that matters.", "除另有说明外，p 值假设样本独立；共处同一市场的违约并不独立，相关二项检验显示其影响。"),
        Text("A figure that is undefined is left empty. A test that finds nothing has its least detectable shift beside it: what is smaller may be there.", "无定义的数字留空。未发现问题的检验旁列有可检出的最小偏移：更小的偏移可能存在。"),
        Text("Applicants who were refused have no outcome; figures hold for those who were accepted.", "被拒绝的申请人没有结果；指标仅适用于已接受者。"),
    ]  # fmt: skip
    return section
