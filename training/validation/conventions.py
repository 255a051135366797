"""The words of conventions and units that statistics print, in Chinese."""

from __future__ import annotations

import re
from typing import Final

_CHINESE: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"asymptotic p-value, conservative with ties", "渐近 p 值，存在并列时偏保守"),
        (r"AUC on grades, ties count 1/2; the initial AUC is a constant", "等级 AUC，并列计 1/2；初始 AUC 视为常数"),
        (r"AUC on grades, ties count 1/2", "等级 AUC，并列计 1/2"),
        (r"df = (\d+): one for each grade, PDs fixed beforehand; needs N PD of about 5 in each grade", r"自由度 \1：每等级一个（PD 事先确定）；各等级 N·PD 约需达 5"),
        (r"df = (-?\d+): grades less 2, in-sample; needs N PD of about 5 in each grade", r"自由度 \1：等级数减 2（样本内）；各等级 N·PD 约需达 5"),
        (r"likelihood ratio", "似然比"),
        (r"(\d+) years; tau\^2 about the mean", r"\1 个年度；τ² 以均值为中心"),
        (r"(\d+) years; tau\^2 about zero", r"\1 个年度；τ² 以零为中心"),
        (r"(\d+) years: ", r"\1 个年度："),
        (r"(\d+) periods, t with (\d+) df", r"\1 个期间，t 分布，自由度 \2"),
        (r"events independent", "事件独立"),
        (r"chi-square limit; half a case added to every cell", "卡方极限；每格加半个样本"),
        (r"chi-square limit", "卡方极限"),
        (r"Welch degrees of freedom over all cases of each sample \(pROC\)", "Welch 自由度，按各样本全部样本数（同 pROC）"),
        (r"share of expected events", "占预期事件"),
        (r"share of every PD", "占各 PD"),
        (r"slope", "斜率"),
        (r"\bgreen\b", "绿"), (r"\byellow\b", "黄"), (r"\borange\b", "橙"), (r"\bred\b", "红"),
    )
)  # fmt: skip


def in_chinese(text: str) -> str:
    """A convention or unit in Chinese; symbols and names of statistics stay."""
    for pattern, chinese in _CHINESE:
        text = pattern.sub(chinese, text)
    return text
