"""Outcomes at the level of price: order, dispersion at equal risk, cliffs between grades, money."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy import stats

from data_contracts.canonical import sha256_hex
from training.report.texts import Text
from training.validation.document import Finding, Section
from training.validation.material import Material, Prices
from training.validation.result import Test
from training.validation.rules import LEVEL
from training.validation.sections.common import column, figure, table

NEAR_EDGE: Final = 0.10
"""A cliff compares decisions whose PD lies within a tenth of an edge, on both sides."""
BINS: Final = 20
LEAST_STEP_BPS: Final = 0.5
LEAST_NIGHTS: Final = 4


def prices(m: Material) -> Section:
    """Who pays what for which risk."""
    section = Section(
        "prices",
        Text("Price-level outcomes", "价格层面的结果"),
        Text(
            f"Rates and caps of the decisions on record. Funding moves all rates of a night together, so comparisons are within nights. Dispersion is the spread of rates among decisions of nearly equal PD ({BINS} equal-size bins): what is not explained by risk. A cliff compares decisions within {NEAR_EDGE:.0%} of a grade's PD edge, just better and just worse.",
            f"已记录决定的利率与额度。资金成本使同一日利率同向变动，因此均在同一日内比较。离散度为 PD 几乎相同（{BINS} 个等频箱）的决定之间的利率差异，即风险未解释部分。断崖比较等级 PD 边界上下 {NEAR_EDGE:.0%} 之内的决定。",
        ),
    )
    p = m.prices
    if p is None:
        section.absent = m.absent.get(
            "prices", Text("no decisions with a price are in these data", "数据中没有带价格的决定")
        )
        return section
    h = sha256_hex(
        b"|".join(
            np.ascontiguousarray(getattr(p, n)).tobytes()
            for n in (
                "probability",
                "grade",
                "rate_bps",
                "leverage",
                "cap_amt",
                "expected_loss_amt",
                "approved",
            )
        )
    )
    by_night = np.bincount(p.night, weights=p.rate_bps) / np.maximum(np.bincount(p.night), 1)
    own = p.rate_bps - by_night[p.night]  # less the night's mean: funding moves all rates together
    rows: list[list[Any]] = []
    for g in np.unique(p.grade):
        here = p.grade == g
        known = here & ~np.isnan(p.leverage)
        rows.append(
            [int(g), int(here.sum()), float(p.probability[here].mean()), float(p.rate_bps[here].mean()), float(own[here].std()),
             float(p.leverage[known].mean()) if known.any() else None, float(p.cap_amt[here].sum()), float(np.nansum(p.expected_loss_amt[here])), float(p.approved[here].mean())]
        )  # fmt: skip
    money = "money"
    section.tables.append(
        table(
            "grades",
            f"Price and cap by grade ({p.currency})",
            f"各等级的价格与额度（{p.currency}）",
            [
                column("grade", "Grade", "等级", "count"),
                column("decisions", "Decisions", "决定数", "count"),
                column("pd", "mean PD", "平均 PD", "ratio"),
                column("rate", "mean rate", "平均利率", "bps"),
                column("spread", "spread of rates", "利率标准差", "bps"),
                column("leverage", "mean cap, × equity", "平均杠杆上限（倍）"),
                column("cap", "caps", "额度合计", money),
                column("loss", "expected loss a year", "年预期损失", money),
                column("approved", "approved", "通过率", "ratio"),
            ],
            rows,
            prices,
            h,
        )
    )
    edges = np.unique(np.quantile(p.probability, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, p.probability, side="left")
    inside, whole = 0.0, float(own.var())
    spreads = []
    for b in np.unique(place):
        r = own[place == b]
        inside += float(r.var()) * len(r) / len(place)
        spreads.append(float(np.subtract(*np.quantile(r, [0.9, 0.1]))))
    section.figures += [
        figure("dispersion", "Spread of rates at equal risk (standard deviation)", "同等风险下的利率离散度（标准差）", float(np.sqrt(inside)), prices, h, "bps"),
        figure("explained", "Share of the rates' variance that PD explains", "PD 解释的利率方差占比", None if whole == 0 else 1 - inside / whole, prices, h, "ratio"),
        figure("widest", "Widest 10th to 90th percentile at equal risk", "同等风险下最宽的 10–90 分位差", max(spreads), prices, h, "bps"),
    ]  # fmt: skip
    cliffs = []
    for k, edge in enumerate(p.edges):
        better = (p.probability <= edge) & (p.probability > edge * (1 - NEAR_EDGE))
        worse = (p.probability > edge) & (p.probability <= edge * (1 + NEAR_EDGE))
        if not better.any() or not worse.any():
            cliffs.append([k + 1, float(edge), int(better.sum()), int(worse.sum()), None, None])
            continue
        jump = float(own[worse].mean() - own[better].mean())
        caps = [
            float(np.nanmean(p.leverage[x]))
            if bool(np.isfinite(p.leverage[x]).any())
            else float("nan")
            for x in (worse, better)
        ]
        cliffs.append(
            [k + 1, float(edge), int(better.sum()), int(worse.sum()), jump, caps[0] - caps[1]]
        )
    section.tables.append(
        table(
            "cliffs",
            "Cliffs at the edges between grades",
            "等级边界处的断崖",
            [
                column("edge", "Edge after grade", "等级之后的边界", "count"),
                column("pd", "PD", "PD", "ratio"),
                column("better", "decisions just better", "略优的决定", "count"),
                column("worse", "just worse", "略差的决定", "count"),
                column("rate", "jump of the rate", "利率跳升", "bps"),
                column("cap", "jump of the cap, × equity", "额度跳变（倍）"),
            ],
            cliffs,
            prices,
            h,
        )
    )
    steps = []
    for k in range(1, len(rows)):
        step, test = grade_step(p, int(rows[k - 1][0]), int(rows[k][0]))
        steps.append([f"{rows[k - 1][0]} → {rows[k][0]}", step, test.p_value])
        certain = test.p_value is None or test.p_value < LEVEL
        if step is not None and step < -LEAST_STEP_BPS and certain:
            section.findings.append(
                Finding(
                    "price_order",
                    3,
                    Text(
                        f"Grade {rows[k][0]} pays {-step:.1f} bps less than the better grade {rows[k - 1][0]} on the same night.",
                        f"同一日内 {rows[k][0]} 级平均利率比更优的 {rows[k - 1][0]} 级低 {-step:.1f} 基点。",
                    ),
                    "risk",
                    "prices.steps",
                    -step / 1e4 * float(np.nansum(p.exposure_amt[p.grade == rows[k][0]])),
                )
            )
    if steps:
        section.tables.append(
            table(
                "steps",
                "Mean rate of a grade less the better one's, night by night",
                "同一日内相邻等级的平均利率差",
                [
                    column("step", "Grades", "等级", "text"),
                    column("rate", "step of the rate", "利率差", "bps"),
                    column(
                        "p", "p that it is not below zero, one-sided", "p（单侧，不低于零）", "p"
                    ),
                ],
                steps,
                grade_step,
                h,
            )
        )
    return section


def grade_step(p: Prices, better: int, worse: int) -> tuple[float | None, Test]:
    """Mean over nights of a grade's mean rate less the better one's, and a one-sided t-test on it.

    Small p-values say that the worse grade pays less. None where no night has both.
    """
    null = "the worse grade does not pay less"
    found = []
    for night in np.unique(p.night):
        here = p.night == night
        one, two = p.rate_bps[here & (p.grade == better)], p.rate_bps[here & (p.grade == worse)]
        if len(one) and len(two):
            found.append(float(two.mean() - one.mean()))
    if not found:
        return None, Test(None, None, "one-sided", null)
    mean = float(np.mean(found))
    if len(found) < LEAST_NIGHTS or float(np.std(found)) == 0:
        return mean, Test(None, None, "one-sided", null)
    test = stats.ttest_1samp(found, 0.0, alternative="less")
    return mean, Test(
        float(test.statistic), float(test.pvalue), "one-sided", null, df=len(found) - 1
    )
