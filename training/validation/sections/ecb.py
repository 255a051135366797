"""The PD items of the ECB's validation reporting template (February 2019), as a table of their own."""

from __future__ import annotations

import numpy as np

from training.report.texts import Text
from training.validation import calibration as cal
from training.validation import discrimination as dis
from training.validation import stability as sta
from training.validation.document import Section
from training.validation.material import Material
from training.validation.sections.common import column, table

TECHNICAL = Text("technical defaults are not recorded in these data", "数据中未记录技术性违约")


def ecb_table(m: Material) -> Section:
    """Items 2.5.2 to 2.5.5 of the instructions; what cannot be filled says why."""
    v, i, h = m.validation, m.initial, m.validation.sha256
    n, d, pd = v.by_grade(m.grades)
    n0, _, _ = i.by_grade(m.grades)
    section = Section(
        "ecb",
        Text("ECB PD statistics", "欧洲央行 PD 统计"),
        Text(
            "The PD items of the ECB's Instructions for reporting the validation results of internal models (February 2019). AUC on grades; Jeffreys one-sided; concentration by the ECB's own index, not the sum of squares. The initial sample is that of the model's first validation. PSI and CIER are not part of this template.",
            "欧洲央行《内部模型验证结果报告说明》（2019 年 2 月）中的 PD 项目。AUC 基于等级；Jeffreys 为单侧；集中度采用其自有指数而非平方和。初始样本为模型首次验证样本。该模板不含 PSI 与 CIER。",
        ),
    )
    initial = dis.auc_delong(i.grade, i.label)
    current = dis.auc_delong(v.grade, v.label)
    change = dis.auc_initial_current(initial.value or 0.0, v.grade, v.label)
    spread, before = sta.concentration(n), sta.concentration(n0)
    grown = sta.concentration_change(n, n0)
    whole = cal.jeffreys(len(v), int(v.label.sum()), float(v.probability.mean()))
    exposure = None
    if m.prices is not None:
        weight = np.bincount(
            m.prices.grade - 1, weights=np.nan_to_num(m.prices.exposure_amt), minlength=m.grades
        )
        exposure = sta.concentration(weight[: m.grades]).herfindahl
    lower = upper = None
    if m.migrations is not None:
        lower, upper = sta.matrix_weighted_bandwidth(m.migrations)
    overridden = (
        None if m.overrides is None else len(m.overrides.side) / max(m.overrides.decisions, 1)
    )
    no_migration = m.absent.get(
        "migrations", Text("needs one customer's grades a year apart", "需要同一客户相隔一年的等级")
    )
    not_overridden = Text("no reviews in these data", "数据中没有人工审查记录")
    no_exposure = Text("no exposures in these data", "数据中没有敞口")

    def item(number: str, en: str, zh: str, value, absent: Text | None = None, **more):  # type: ignore[no-untyped-def]
        return [
            number,
            Text(en, zh),
            value,
            more.get("p"),
            more.get("detectable"),
            absent if value is None else None,
        ]

    rows = [
        item("2.5.2.1", "Cases before exclusions", "剔除前样本数", m.subject.get("cases_before", len(v))),
        item("2.5.2.1", "Cases after exclusions (N)", "剔除后样本数（N）", len(v)),
        item("2.5.2.2", "Overridden share of decisions", "被推翻决定占比", overridden, not_overridden),
        item("2.5.2.3", "Technical defaults share", "技术性违约占比", None, TECHNICAL),
        item("2.5.3.1", "Jeffreys, whole portfolio, PD weighted by number", "Jeffreys（全组合，按数量加权 PD）", whole.statistic, p=whole.p_value, detectable=whole.detectable),
        item("2.5.4.1", "AUC, initial", "初始 AUC", initial.value, Text("no initial sample", "无初始样本")),
        item("2.5.4.1", "AUC, current, with the test against the initial one", "当前 AUC（附与初始值的检验）", current.value, Text("one outcome only", "仅一类结果"), p=change.p_value, detectable=change.detectable),
        item("2.5.4.1", "Variance s2 of the current AUC", "当前 AUC 方差 s²", current.variance, Text("too few cases", "样本过少")),
        item("2.5.4.1", "Test statistic S", "检验统计量 S", change.statistic, Text("too few cases", "样本过少"), p=change.p_value),
        item("2.5.5.1", "Matrix weighted bandwidth, upper", "矩阵加权带宽（上）", upper, no_migration),
        item("2.5.5.1", "Matrix weighted bandwidth, lower", "矩阵加权带宽（下）", lower, no_migration),
        item("2.5.5.3", "Herfindahl index, current, by number", "当前赫芬达尔指数（按数量）", spread.herfindahl, Text("one grade", "仅一个等级"), p=grown.p_value, detectable=grown.detectable),
        item("2.5.5.3", "Herfindahl index, initial, by number", "初始赫芬达尔指数（按数量）", before.herfindahl, Text("no initial sample", "无初始样本")),
        item("2.5.5.3", "Herfindahl index, current, by exposure", "当前赫芬达尔指数（按敞口）", exposure, no_exposure),
    ]  # fmt: skip
    section.tables.append(
        table(
            "items",
            "Items of the template",
            "模板项目",
            [
                column("item", "Item", "条目", "text"),
                column("what", "What", "内容", "text"),
                column("value", "Value", "数值"),
                column("p", "p, one-sided", "p（单侧）", "p"),
                column("detectable", "least shift found", "可检出最小偏移"),
                column("absent", "Not applicable because", "不适用原因", "text"),
            ],
            rows,
            ecb_table,
            h,
        )
    )
    grades = []
    for k in range(m.grades):
        test = cal.jeffreys(int(n[k]), int(d[k]), 0.0 if np.isnan(pd[k]) else float(pd[k]))
        grades.append([k + 1, pd[k], int(n[k]), int(d[k]), test.p_value, test.detectable])
    section.tables.append(
        table(
            "jeffreys",
            "2.5.3.1 Jeffreys test, by grade",
            "2.5.3.1 各等级 Jeffreys 检验",
            [
                column("grade", "Grade", "等级", "count"),
                column("pd", "PD", "PD", "ratio"),
                column("n", "N", "N", "count"),
                column("d", "D", "D", "count"),
                column("p", "p, one-sided", "p（单侧）", "p"),
                column("detectable", "least PD shift found", "可检出最小 PD 偏移", "ratio"),
            ],
            grades,
            cal.jeffreys,
            h,
        )
    )
    if m.migrations is not None:
        _migrations(m, section)
    return section


def _migrations(m: Material, section: Section) -> None:
    assert m.migrations is not None
    found = sta.migration(m.migrations)
    grades = [column(f"to_{k + 1}", str(k + 1), str(k + 1), "ratio") for k in range(m.grades)]
    ends = [
        column("default", "default", "违约", "ratio"),
        column("other", "other system", "其他体系", "ratio"),
        column("gone", "terminated", "终止", "ratio"),
    ]
    section.tables += [
        table(
            "migration", "2.5.5.2 Migration over a year, share of each grade at the start", "2.5.5.2 一年迁移矩阵（占期初等级）",
            [column("grade", "From", "自", "count"), *grades, *ends],
            [[k + 1, *row] for k, row in enumerate(found.probability)], sta.migration, m.validation.sha256,
        ),
        table(
            "migration_p", "2.5.5.2 Phi(z): small values mean that a move nearer the diagonal is rarer", "2.5.5.2 Φ(z)：数值小表示更接近对角线的迁移更少",
            [column("grade", "From", "自", "count"), *[column(c.key, c.text.en, c.text.zh, "p") for c in grades]],
            [[k + 1, *row] for k, row in enumerate(found.p_value)], sta.migration, m.validation.sha256,
        ),
    ]  # fmt: skip
