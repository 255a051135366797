"""Calibration of the validated model."""

from __future__ import annotations

import numpy as np

from training.report.texts import Text
from training.validation import backtests
from training.validation import calibration as cal
from training.validation import scores as sco
from training.validation.document import Chart, Finding, Section
from training.validation.material import Material
from training.validation.result import Test, false_discovery
from training.validation.rules import (
    CORRELATION,
    LEVEL,
    RATIO_MAJOR,
    RATIO_MINOR,
    RATIO_SEVERE,
    SLOPE_BAND,
)
from training.validation.sections.common import column, figure, significant, table


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
