"""Discrimination, calibration and stability of the validated model."""

from __future__ import annotations

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.report.texts import Text
from training.validation import backtests, curves
from training.validation import calibration as cal
from training.validation import discrimination as dis
from training.validation import scores as sco
from training.validation.document import Chart, Finding, Section
from training.validation.material import Material
from training.validation.result import Test, false_discovery
from training.validation.rules import (
    AUC_DROP,
    CORRELATION,
    IMPLAUSIBLE_AUC,
    LEVEL,
    RATIO_MAJOR,
    RATIO_MINOR,
    RATIO_SEVERE,
    SLOPE_BAND,
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


def calibration(m: Material) -> Section:
    """Do events happen as often as predicted?"""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "calibration",
        Text("Calibration", "校准"),
        Text(
            f"Predicted probabilities against what happened. Jeffreys and binomial tests are one-sided against too low a PD; the correlated test allows for one common factor with asset correlation {CORRELATION}. q is Benjamini-Hochberg's figure over the grades, beside p and never instead of it.",
            f"预测概率与实际结果之比。Jeffreys 与二项检验为单侧（检验 PD 是否偏低）；相关二项检验含一个共同因子，资产相关性 {CORRELATION}。q 为对各等级的 Benjamini-Hochberg 值，与 p 并列，不替代 p。",
        ),
    )
    n, d, pd = v.by_grade(m.grades)
    filled = np.where(np.isnan(pd), 0.0, pd)
    ratio, even = cal.observed_to_expected(v.probability, v.label, v.period)
    hl = cal.hosmer_lemeshow(n, d, filled)
    z, line = cal.spiegelhalter(v.probability, v.label), cal.cox(v.probability, v.label)
    murphy, corp = sco.murphy(n, d, filled), sco.corp(v.probability, v.label)
    logs = sco.corp(v.probability, v.label, "log_loss")
    error = line.slope_error()
    section.figures += [
        figure("observed_to_expected", "Events over expected events", "实际与预期事件之比", ratio, cal.observed_to_expected, h, "ratio", test=even),
        figure("hosmer_lemeshow", "Hosmer-Lemeshow over grades", "Hosmer-Lemeshow（按等级）", hl.statistic, cal.hosmer_lemeshow, h, test=hl),
        figure("spiegelhalter", "Spiegelhalter's z, single cases", "Spiegelhalter z（逐笔）", z.statistic, cal.spiegelhalter, h, test=z),
        figure("cox_intercept", "Cox intercept (0 is right)", "Cox 截距（应为 0）", line.intercept, cal.cox, h),
        figure("cox_slope", "Cox slope (1 is right)", "Cox 斜率（应为 1）", line.slope, cal.cox, h, test=line.joint,
               low=None if error is None or line.slope is None else line.slope - 1.959964 * error,
               high=None if error is None or line.slope is None else line.slope + 1.959964 * error,
               note=Text("p is of intercept 0 and slope 1 together", "p 为截距 0 且斜率 1 的联合检验")),
        figure("brier", "Brier score", "Brier 分数", sco.brier(v.probability, v.label), sco.brier, h),
        figure("log_loss", "Log-loss", "对数损失", sco.log_loss(v.probability, v.label), sco.log_loss, h),
        figure("ece", "Expected calibration error, 10 equal-size bins", "期望校准误差（ECE，10 等频箱）", sco.expected_calibration_error(v.probability, v.label), sco.expected_calibration_error, h),
    ]  # fmt: skip
    parts = [
        ("Murphy, by grade", "Murphy（按等级）", "Brier", murphy),
        ("CORP, without bins", "CORP（无分箱）", "Brier", corp),
        ("CORP, without bins", "CORP（无分箱）", "log-loss", logs),
    ]
    section.tables.append(
        table(
            "decomposition",
            "Score = miscalibration - discrimination + uncertainty",
            "分数 = 校准误差 − 区分度 + 不确定性",
            [
                column("method", "Decomposition", "分解", "text"),
                column("of", "of", "指标", "text"),
                column("score", "Score", "分数"),
                column("miscalibration", "Miscalibration", "校准误差"),
                column("discrimination", "Discrimination", "区分度"),
                column("uncertainty", "Uncertainty", "不确定性"),
            ],
            [
                [Text(en, zh), of]
                + (
                    [None] * 4
                    if p is None
                    else [p.score, p.miscalibration, p.discrimination, p.uncertainty]
                )
                for en, zh, of, p in parts
            ],
            sco.corp,
            h,
        )
    )
    rows = []
    jeffreys = [
        cal.jeffreys(int(a), int(b), float(c)) for a, b, c in zip(n, d, filled, strict=True)
    ]
    q = false_discovery([t.p_value for t in jeffreys])
    for k in range(m.grades):
        case = int(n[k]), int(d[k]), float(filled[k])
        common = cal.correlated_binomial(*case, CORRELATION)
        low, high = cal.expected_zone(case[0], case[1])
        rows.append(
            [k + 1, case[0], case[1], pd[k], case[1] / case[0] if case[0] else None, low, high,
             jeffreys[k].p_value, q[k], cal.binomial(*case).p_value, common.test.p_value,
             common.critical if case[0] else None, jeffreys[k].detectable]
        )  # fmt: skip
    section.tables.append(
        table(
            "grades",
            "Predicted and realised, by grade",
            "各等级的预测与实际",
            [
                column("grade", "Grade", "等级", "count"),
                column("cases", "Cases", "样本数", "count"),
                column("events", "Events", "事件数", "count"),
                column("pd", "Predicted", "预测", "ratio"),
                column("rate", "Realised", "实际", "ratio"),
                column("low", "low", "下限", "ratio"),
                column("high", "high", "上限", "ratio"),
                column("jeffreys", "Jeffreys p", "Jeffreys p", "p"),
                column("q", "q", "q", "p"),
                column("binomial", "binomial p", "二项 p", "p"),
                column("correlated", "correlated p", "相关二项 p", "p"),
                column("critical", "k*, 5 %", "k*（5%）", "count"),
                column(
                    "detectable",
                    "least PD shift found (80 % power)",
                    "可检出最小 PD 偏移（80% 功效）",
                    "ratio",
                ),
            ],
            rows,
            cal.jeffreys,
            h,
        )
    )
    if v.period is not None:
        _years(m, section)
    order = np.argsort(v.probability, kind="stable")
    fit = sco.isotonic(v.probability, v.label)
    # the last few forecasts stand for a case or two each, and would set the picture's scale
    most = max(1, int(len(order) * 0.99))
    keep = order[np.unique(np.linspace(0, most - 1, 160).astype(int))]
    section.charts.append(
        Chart(
            "reliability",
            "line",
            Text("Reliability: isotonic event rate against prediction", "可靠性：保序事件率与预测"),
            (Text("predicted", "预测"), Text("realised", "实际")),
            [
                (Text("model", "模型"), v.probability[keep].tolist(), fit[keep].tolist()),
                (
                    Text("right", "完全校准"),
                    [0.0, float(v.probability[keep].max())],
                    [0.0, float(v.probability[keep].max())],
                ),
            ],
        )
    )
    _calibration_findings(m, section, ratio, even, line)
    return section


def _years(m: Material, section: Section) -> None:
    """Tests over periods: Working Paper 14's normal test and traffic light."""
    v = m.validation
    assert v.period is not None
    years = np.unique(v.period)
    cases = np.array([(v.period == y).sum() for y in years])
    events = np.array([v.label[v.period == y].sum() for y in years])
    mean = np.array([v.probability[v.period == y].mean() for y in years])
    normal = backtests.normal_test(mean, events / cases)
    lights = backtests.multi_year_traffic_light(cases, events, mean)
    h = v.sha256
    section.figures += [
        figure("normal_test", "Normal test over periods", "多期正态检验", normal.statistic, backtests.normal_test, h, test=normal),
        figure("traffic_light", "Traffic light over periods (V)", "多期红绿灯（V）", lights.statistic, backtests.multi_year_traffic_light, h, test=lights),
    ]  # fmt: skip
    section.tables.append(
        table(
            "periods",
            "Predicted and realised, by period",
            "各期的预测与实际",
            [
                column("period", "Period", "期间", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("events", "Events", "事件数", "count"),
                column("pd", "Predicted", "预测", "ratio"),
                column("rate", "Realised", "实际", "ratio"),
                column("colour", "Colour", "颜色", "text"),
            ],
            [
                [
                    str(y),
                    int(a),
                    int(b),
                    float(c),
                    b / a,
                    backtests.year_colour(int(a), int(b), float(c)),
                ]
                for y, a, b, c in zip(years, cases, events, mean, strict=True)
            ],
            backtests.year_colour,
            h,
        )
    )


def _calibration_findings(
    m: Material, section: Section, ratio: float | None, even: Test, line: cal.Cox
) -> None:
    if ratio is not None and significant(even, LEVEL):
        away = abs(ratio - 1)
        severity = 4 if away > RATIO_SEVERE else 3 if away > RATIO_MAJOR else 2
        if away > RATIO_MINOR:
            money = None
            if m.prices is not None:
                money = (ratio - 1) * float(np.nansum(m.prices.expected_loss_amt))
            section.findings.append(
                Finding(
                    "calibration",
                    severity,
                    Text(
                        f"Events are {ratio:.2f} times the expected number ({int(m.validation.label.sum())} against {m.validation.probability.sum():.1f}; two-sided p = {even.p_value:.2g}).",
                        f"实际事件为预期的 {ratio:.2f} 倍（{int(m.validation.label.sum())} 对 {m.validation.probability.sum():.1f}；双侧 p = {even.p_value:.2g}）。",
                    ),
                    "developer",
                    "calibration.observed_to_expected",
                    money,
                )
            )
    error = line.slope_error()
    if line.slope is not None and error and not SLOPE_BAND[0] <= line.slope <= SLOPE_BAND[1]:
        away = abs(line.slope - 1) / error
        if away > 2.5758:  # two-sided 1 %
            section.findings.append(
                Finding(
                    "calibration_slope",
                    3,
                    Text(
                        f"Cox's slope is {line.slope:.2f}: predictions are too {'extreme' if line.slope < 1 else 'timid'}.",
                        f"Cox 斜率为 {line.slope:.2f}：预测过于{'极端' if line.slope < 1 else '集中'}。",
                    ),
                    "developer",
                    "calibration.cox_slope",
                )
            )
