"""Discrimination of the validated model."""

from __future__ import annotations

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.report.texts import Text
from training.validation import curves
from training.validation import discrimination as dis
from training.validation.document import Chart, Finding, Section
from training.validation.material import Material
from training.validation.rules import (
    AUC_DROP,
    IMPLAUSIBLE_AUC,
    LEVEL,
)
from training.validation.sections.common import column, figure, significant, table


def discrimination(m: Material) -> Section:
    """Does the score put events above non-events?"""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "discrimination",
        Text("Discrimination", "区分能力"),
        Text(
            "How well events rank above non-events in cases that taught nothing. Ties count one half. Intervals are two-sided 95 % and treat cases as independent.",
            "在未参与训练的样本中，事件是否排在非事件之前。并列计一半。区间为双侧 95%，按样本独立计算。",
        ),
    )
    own = dis.auc_delong(v.score, v.label)
    n, d, _ = v.by_grade(m.grades)
    rank = dis.somers_d(v.grade, v.label)
    ks = curves.kolmogorov_smirnov(v.score, v.label)
    initial = dis.auc_delong(m.initial.grade, m.initial.label)
    section.figures += [
        figure("auc", "AUC of the score", "评分的 AUC", own.value, dis.auc_delong, h, low=own.low, high=own.high),
        figure("auc_grades", "AUC of the grades", "等级的 AUC", dis.auc_delong(v.grade, v.label).value, dis.auc_delong, h),
        figure("accuracy_ratio", "Accuracy ratio (CAP)", "准确率比（CAP）", curves.accuracy_ratio(v.score, v.label), curves.accuracy_ratio, h),
        figure("somers_d", "Somers' D of the grades", "等级的 Somers' D", rank.value, dis.somers_d, h, low=rank.low, high=rank.high),
        figure("ks", "Kolmogorov-Smirnov distance", "KS 距离", ks.statistic, curves.kolmogorov_smirnov, h, test=ks),
        figure("cier", "CIER of the grades", "等级的条件信息熵比（CIER）", curves.cier(n, d).value, curves.cier, h),
        figure("information_value", "Information value of the grades", "等级的信息值（IV）", curves.information_value(n, d).value, curves.information_value, h),
        figure("h_measure", "H-measure", "H 测度", curves.h_measure(v.score, v.label), curves.h_measure, h,
               note=Text("severity Beta(1 + event rate, 2 - event rate)", "严重度分布 Beta(1 + 事件率, 2 − 事件率)")),
    ]  # fmt: skip
    if initial.value is not None:
        change = dis.auc_initial_current(initial.value, v.grade, v.label)
        current = dis.auc_delong(v.grade, v.label).value
        section.figures.append(
            figure(
                "auc_initial_current",
                "AUC of the grades at initial validation",
                "初次验证时的等级 AUC",
                initial.value,
                dis.auc_initial_current,
                m.initial.sha256,
                test=change,
            )
        )
        # the ECB's p takes the initial AUC for a constant; a finding also allows for its own error
        both = dis.auc_unpaired((m.initial.grade, m.initial.label), (v.grade, v.label))
        section.figures.append(
            figure(
                "auc_initial_current_both",
                "AUC of the grades, initial less current, both estimated",
                "等级 AUC 初始减当前（两者均为估计）",
                None if current is None else initial.value - current,
                dis.auc_unpaired,
                h,
                test=both,
            )
        )
        if (
            significant(change, LEVEL)
            and significant(both, LEVEL)
            and current is not None
            and initial.value - current > AUC_DROP
        ):
            section.findings.append(
                Finding(
                    "discrimination",
                    3,
                    Text(
                        f"The AUC of the grades fell from {initial.value:.3f} to {current:.3f} (one-sided p = {change.p_value:.2g}).",
                        f"等级 AUC 由 {initial.value:.3f} 降至 {current:.3f}（单侧 p = {change.p_value:.2g}）。",
                    ),
                    "developer",
                    "discrimination.auc_initial_current",
                )
            )
    if v.period is not None and len(np.unique(v.period)) > 1:
        pooled = dis.auc_pooled(v.grade, v.label, v.period)
        section.figures.append(
            figure(
                "auc_pooled",
                "AUC of the grades, pooled over periods by rank within period",
                "跨期合并的等级 AUC（按期内秩次）",
                pooled.value,
                dis.auc_pooled,
                h,
                low=pooled.low,
                high=pooled.high,
            )
        )
    curve = curves.cap_curve(v.score, v.label)
    if curve is not None:
        x, y = curve
        keep = np.unique(np.linspace(0, len(x) - 1, 120).astype(int))
        section.charts.append(
            Chart(
                "cap",
                "line",
                Text("Cumulative accuracy profile", "累积准确性曲线（CAP）"),
                (
                    Text("share of cases, riskiest first", "样本占比（由高风险起）"),
                    Text("share of events", "事件占比"),
                ),
                [
                    (Text("model", "模型"), x[keep].tolist(), y[keep].tolist()),
                    (Text("chance", "随机"), [0.0, 1.0], [0.0, 1.0]),
                ],
            )
        )
    rows = []
    for k, feature in enumerate(m.features):
        x = v.features[:, k]
        if feature.is_category:
            x = _by_event_rate(m.development.features[:, k], m.development.label, x)
        known = ~np.isnan(x)
        single = dis.auc_delong(x[known], v.label[known])
        rows.append([feature.text, int(known.sum()), single.value, single.low, single.high])
        if single.value is None or single.low is None or single.high is None:
            continue
        if single.low > IMPLAUSIBLE_AUC or single.high < 1 - IMPLAUSIBLE_AUC:
            section.findings.append(
                Finding(
                    "leakage",
                    4,
                    Text(
                        f"Feature {feature.text.en} alone has an AUC of {single.value:.3f}: it probably knows the outcome.",
                        f"特征 {feature.text.zh} 单独的 AUC 为 {single.value:.3f}，很可能已包含结果信息。",
                    ),
                    "data",
                    "discrimination.features",
                )
            )
    section.tables.append(
        table(
            "features",
            "Each feature alone (numbers as they are, levels by their event rate in development, missing left out)",
            "各特征单独的区分能力（类别按开发样本事件率排序，缺失值除外）",
            [
                column("feature", "Feature", "特征", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("auc", "AUC", "AUC"),
                column("low", "low", "下限"),
                column("high", "high", "上限"),
            ],
            rows,
            dis.auc_delong,
            h,
        )
    )
    return section


def _by_event_rate(before: FloatArray, label: IntArray, values: FloatArray) -> FloatArray:
    """Levels as their event rate in development; NaN for levels that it did not have."""
    out = np.full(len(values), np.nan)
    for level in np.unique(before[~np.isnan(before)]):
        out[values == level] = float(label[before == level].mean())
    return out
