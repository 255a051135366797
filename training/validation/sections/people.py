"""Groups of people and acts of people: outcomes by protected attribute, overrides by reviewer."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
from scipy import stats

from training.report.texts import Text
from training.validation import calibration as cal
from training.validation import discrimination as dis
from training.validation.document import Finding, Section
from training.validation.material import Material
from training.validation.result import Test, false_discovery, family_wise
from training.validation.rules import IMPACT_RATIO, LEVEL, OVERRIDE_RATE
from training.validation.sections.common import column, figure, table

LEAST_GROUP: Final = 30
PROFILES: Final = (
    ("US", Text("ECOA and Regulation B: specific reasons; since 21 July 2026 without an effects test, intent and proxies remain; state law and the Fair Housing Act still look at outcomes.",
                "ECOA 与 B 条例：须给出具体理由；自 2026 年 7 月 21 日起不再适用差别影响检验，仍禁止故意与代理变量；州法及《公平住房法》仍看结果。")),
    ("EU", Text("AI Act, Annex III 5(b): examine data for bias (art. 10), right to an explanation (art. 86); GDPR art. 22.",
                "《人工智能法》附件三 5(b)：数据偏差检查（第 10 条）、解释权（第 86 条）；GDPR 第 22 条。")),
    ("UK", Text("Equality Act 2010: indirect discrimination needs justification; PRA SS1/23 asks for the evidence.",
                "《2010 年平等法》：间接歧视须有正当理由；PRA SS1/23 要求证据。")),
    ("CN", Text("PIPL art. 24: transparent, fair, no unreasonable differential treatment in price; art. 55: impact assessment.",
                "《个人信息保护法》第二十四条：透明、公平，不得在交易价格上实行不合理的差别待遇；第五十五条：影响评估。")),
    ("HK", Text("HKMA CA-G-4: overrides and their outcomes are followed separately; the Sex, Disability, Family Status and Race Discrimination Ordinances.",
                "金管局 CA-G-4：推翻决定及其结果须单独跟踪；性别、残疾、家庭岗位及种族歧视条例。")),
)  # fmt: skip


def _approved(m: Material) -> tuple[np.ndarray, Text]:
    """Which validation cases would be approved, and by what stated rule."""
    worst = m.grades
    return m.validation.grade < worst, Text(
        f"approved: every grade but the worst ({worst})", f"通过：除最差等级（{worst}）外"
    )


def fairness(m: Material) -> Section:
    """Outcomes by group, computed everywhere; what they mean in law depends on the jurisdiction."""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "fairness",
        Text("Fairness by jurisdiction", "公平性（按司法辖区）"),
        Text(
            "Protected attributes are never inputs; they are joined here only. All metrics are computed everywhere, and each jurisdiction's profile says what they mean there. p compares a group's approval rate with the most approved group's, two-sided; q and Holm's p count all groups.",
            "受保护属性从不作为输入，仅在此处关联。所有指标一律计算，各辖区说明其含义。p 为该群体与最高通过率群体的双侧比较；q 与 Holm p 计入全部群体。",
        ),
    )
    section.tables.append(
        table(
            "profiles",
            "What outcomes mean, by jurisdiction",
            "各辖区的含义",
            [
                column("where", "Jurisdiction", "辖区", "text"),
                column("rule", "Rule", "规则", "text"),
            ],
            [[where, rule] for where, rule in PROFILES],
            fairness,
            h,
        )
    )
    if not m.protected:
        section.absent = m.absent.get(
            "fairness", Text("no protected attributes were given", "未提供受保护属性")
        )
        return section
    approved, rule = _approved(m)
    section.points.append(rule)
    found = []
    for attribute in sorted(m.protected):
        groups = m.protected[attribute]
        names = [g for g, n in sorted(Counter(groups.tolist()).items()) if n >= LEAST_GROUP]
        rates = {g: float(approved[groups == g].mean()) for g in names}
        if len(names) < 2:
            continue
        best = max(names, key=lambda g: (rates[g], g))
        for g in names:
            here, there = groups == g, groups == best
            p = None
            if g != best:
                counts = [
                    [int(approved[x].sum()), int((~approved[x]).sum())] for x in (here, there)
                ]
                p = float(stats.fisher_exact(counts).pvalue)
            ratio, even = cal.observed_to_expected(
                v.probability[here],
                v.label[here],
                None if v.period is None else v.period[here],
                v.periods,
            )
            bad, good = here & (v.label == 1), here & (v.label == 0)
            rate = None
            if m.prices is not None and len(m.prices.rate_bps) == len(v):
                rate = float(m.prices.rate_bps[here].mean())
            found.append(
                [attribute, g, int(here.sum()), rates[g], rates[g] / rates[best] if rates[best] else None, p,
                 float(approved[bad].mean()) if bad.any() else None, float(approved[good].mean()) if good.any() else None,
                 dis.auc_delong(v.score[here], v.label[here]).value, ratio, even.p_value, rate]
            )  # fmt: skip
    if not found:
        section.absent = Text(
            f"no two groups have {LEAST_GROUP} cases each", f"没有两个群体各达 {LEAST_GROUP} 例"
        )
        return section
    q, holm = false_discovery([r[5] for r in found]), family_wise([r[5] for r in found])
    section.tables.append(
        table(
            "groups",
            "Outcomes by group",
            "各群体的结果",
            [
                column("attribute", "Attribute", "属性", "text"),
                column("group", "Group", "群体", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("approved", "Approved", "通过率", "ratio"),
                column("impact", "Impact ratio", "影响比"),
                column("p", "p", "p", "p"),
                column("q", "q", "q", "p"),
                column("holm", "Holm p", "Holm p", "p"),
                column("bad", "approved among events", "事件者通过率", "ratio"),
                column("good", "approved among non-events", "非事件者通过率", "ratio"),
                column("auc", "AUC", "AUC"),
                column("ratio", "Events / expected", "实际/预期"),
                column("even", "its p", "其 p", "p"),
                column("rate", "mean rate", "平均利率", "bps"),
            ],
            [[*r[:6], q[k], holm[k], *r[6:]] for k, r in enumerate(found)],
            cal.observed_to_expected,
            h,
        )
    )
    for k, r in enumerate(found):
        level = holm[k]
        if level is not None and level < LEVEL and r[4] is not None and r[4] < IMPACT_RATIO:
            section.findings.append(
                Finding(
                    "fairness",
                    3,
                    Text(
                        f"{r[0]} {r[1]}: approved {r[4]:.2f} times as often as the most approved group (Holm p = {level:.2g}).",
                        f"{r[0]} {r[1]}：通过率为最高群体的 {r[4]:.2f} 倍（Holm p = {level:.2g}）。",
                    ),
                    "compliance",
                    "fairness.groups",
                )
            )
    return section


def _dependence(first: list[str], second: list[int]) -> Test:
    """Chi-square test that favour does not depend on the first; two-sided."""
    names = sorted(set(first))
    counts = np.array(
        [
            [sum(a == n and b == s for a, b in zip(first, second, strict=True)) for s in (-1, 1)]
            for n in names
        ]
    )
    counts = counts[:, counts.sum(axis=0) > 0]
    null = "favour does not depend on it"
    if len(names) < 2 or counts.shape[1] < 2:
        return Test(None, None, "two-sided", null)
    found = stats.chi2_contingency(counts, correction=False)
    return Test(float(found.statistic), float(found.pvalue), "two-sided", null, df=float(found.dof))


def overrides(m: Material) -> Section:
    """What people changed, in whose favour, and how it turned out."""
    section = Section(
        "overrides",
        Text("Overrides", "人工推翻"),
        Text(
            f"Acts of reviewers on decisions, in favour of the client or against. The largest allowed share is {OVERRIDE_RATE:.0%} of decisions. Cases overridden in favour are compared with their predicted probability: reviewers who know more than the model beat it.",
            f"审查人对决定的推翻，区分有利与不利客户。允许的最大占比为决定数的 {OVERRIDE_RATE:.0%}。将有利推翻案例的实际结果与预测概率比较：审查人若掌握更多信息，结果应优于模型。",
        ),
    )
    o = m.overrides
    if o is None or len(o.side) == 0:
        section.absent = m.absent.get(
            "overrides",
            Text("no act of review is recorded in these data", "数据中没有人工审查记录"),
        )
        return section
    from data_contracts.canonical import sha256_hex

    h = sha256_hex(
        repr(
            (
                o.reviewer,
                o.reason,
                o.side.tolist(),
                o.outcome.tolist(),
                o.probability.tolist(),
                o.segment,
            )
        ).encode()
    )
    share = len(o.side) / max(o.decisions, 1)
    by_segment, by_reviewer = (
        _dependence(list(o.segment), o.side.tolist()),
        _dependence(list(o.reviewer), o.side.tolist()),
    )
    section.figures += [
        figure("rate", "Overrides over decisions", "推翻占比", share, overrides, h, "ratio"),
        figure("segment", "Favour and group of clients (chi-square)", "有利推翻与客户群体（卡方）", by_segment.statistic, overrides, h, test=by_segment),
        figure("reviewer", "Favour and reviewer (chi-square)", "有利推翻与审查人（卡方）", by_reviewer.statistic, overrides, h, test=by_reviewer),
    ]  # fmt: skip
    known = o.outcome >= 0
    rows: list[list[Any]] = []
    for kind, names in (
        ("side", [("against" if s < 0 else "in favour") for s in o.side]),
        ("reviewer", o.reviewer),
        ("reason", o.reason),
        ("segment", o.segment),
    ):
        for name in sorted(set(names)):
            here = np.array([n == name for n in names])
            judged = here & known
            ratio, test = cal.observed_to_expected(o.probability[judged], o.outcome[judged])
            rows.append(
                [
                    kind,
                    name,
                    int(here.sum()),
                    int((o.side[here] > 0).sum()),
                    int((o.side[here] < 0).sum()),
                    int(judged.sum()),
                    ratio,
                    test.p_value,
                ]
            )
    q = false_discovery([r[7] for r in rows])
    section.tables.append(
        table(
            "acts",
            "Overrides and what became of them",
            "推翻及其结果",
            [
                column("by", "By", "维度", "text"),
                column("name", "Name", "名称", "text"),
                column("acts", "Acts", "次数", "count"),
                column("favour", "in favour", "有利", "count"),
                column("against", "against", "不利", "count"),
                column("judged", "outcome known", "结果已知", "count"),
                column("ratio", "Events / expected", "实际/预期"),
                column("p", "p", "p", "p"),
                column("q", "q", "q", "p"),
            ],
            [[*r, q[k]] for k, r in enumerate(rows)],
            overrides,
            h,
        )
    )
    if share > OVERRIDE_RATE:
        section.findings.append(
            Finding("overrides", 2, Text(f"{share:.1%} of decisions were overridden.", f"{share:.1%} 的决定被推翻。"), "operations", "overrides.rate")
        )  # fmt: skip
    for test, en, zh in (
        (by_segment, "the group of clients", "客户群体"),
        (by_reviewer, "the reviewer", "审查人"),
    ):
        if test.p_value is not None and test.p_value < LEVEL:
            section.findings.append(
                Finding("overrides", 3, Text(f"Favour depends on {en} (chi-square, p = {test.p_value:.2g}).", f"有利推翻与{zh}相关（卡方，p = {test.p_value:.2g}）。"), "compliance", "overrides.acts")
            )  # fmt: skip
    return section
