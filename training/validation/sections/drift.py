"""Stability of grades and features against development."""

from __future__ import annotations

import numpy as np

from training.report.texts import Text
from training.validation import stability as sta
from training.validation.document import Finding, Section
from training.validation.material import Material
from training.validation.result import false_discovery
from training.validation.rules import LEVEL, PSI_MAJOR
from training.validation.sections.common import column, figure, significant, table


def stability(m: Material) -> Section:
    """Has the population changed since development?"""
    d, v = m.development, m.validation
    h = v.sha256
    section = Section(
        "stability",
        Text("Stability", "稳定性"),
        Text(
            "Population stability index of the grades (PSI) and of each feature (CSI) against development, with what chance alone gives and a chi-square p-value, one-sided. Where a cell is empty, half a case is added to every cell.",
            "等级的群体稳定性指数（PSI）与各特征的特征稳定性指数（CSI），对照开发样本；列出随机波动的预期值与单侧卡方 p 值。若有空格，则每格加半个样本。",
        ),
    )
    grades = sta.psi(
        np.bincount(d.grade - 1, minlength=m.grades), np.bincount(v.grade - 1, minlength=m.grades)
    )
    section.figures.append(
        figure("psi", "PSI of the grades", "等级 PSI", grades.value, sta.psi, h, test=grades.test,
               note=Text(f"by chance {grades.expected_by_chance or 0:.4f}", f"随机预期 {grades.expected_by_chance or 0:.4f}"))
    )  # fmt: skip
    if significant(grades.test, LEVEL) and (grades.value or 0) > PSI_MAJOR:
        section.findings.append(
            Finding(
                "drift",
                3,
                Text(
                    f"The grades have shifted: PSI {grades.value:.2f}.",
                    f"等级分布已偏移：PSI {grades.value:.2f}。",
                ),
                "risk",
                "stability.psi",
            )
        )
    found = []
    for k, feature in enumerate(m.features):
        x, y = d.features[:, k], v.features[:, k]
        if feature.is_category:
            size = int(np.nanmax(np.r_[x, y, 0])) + 1
            edges = np.arange(size) + 0.5
        else:
            edges = sta.cells_of(x)
        found.append(sta.psi(sta.counts_in(x, edges), sta.counts_in(y, edges)))
    q = false_discovery([p.test.p_value for p in found])
    rows = [
        [f.text, p.value, p.expected_by_chance, p.test.p_value, q[k], p.test.detectable]
        for k, (f, p) in enumerate(zip(m.features, found, strict=True))
    ]
    section.tables.append(
        table(
            "features",
            "Each feature against development",
            "各特征对照开发样本",
            [
                column("feature", "Feature", "特征", "text"),
                column("csi", "CSI", "CSI"),
                column("chance", "by chance", "随机预期"),
                column("p", "p", "p", "p"),
                column("q", "q", "q", "p"),
                column("detectable", "least CSI found (80 % power)", "可检出最小 CSI（80% 功效）"),
            ],
            rows,
            sta.psi,
            h,
        )
    )
    for feature, p in zip(m.features, found, strict=True):
        if significant(p.test, LEVEL) and (p.value or 0) > PSI_MAJOR:
            section.findings.append(
                Finding(
                    "drift",
                    2,
                    Text(
                        f"Feature {feature.text.en} has shifted: CSI {p.value:.2f}.",
                        f"特征 {feature.text.zh} 已偏移：CSI {p.value:.2f}。",
                    ),
                    "data",
                    "stability.features",
                )
            )
    return section
