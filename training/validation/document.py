"""The report as data: sections of figures and tables, each with where it came from; findings; a grade.

JSON first: pages are rendered from this document and hold no number that it does not.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from training.report.texts import Text
from training.validation.result import Test

FORMAT: Final = 1
RECOMPUTED: Final = 1e-9
"""Recomputing a figure on another machine moves the last digits of float64 sums, no more."""

SEVERITIES: Final = {
    1: Text("no deficiency", "无缺陷"),
    2: Text("minor", "轻微"),
    3: Text("major", "重大"),
    4: Text("severe", "严重"),
}
DUE_DAYS: Final = {2: 180, 3: 90, 4: 30}
"""Calendar days until a finding of each severity must be closed."""
OWNERS: Final = {
    "developer": Text("model owner (development)", "模型负责人（开发）"),
    "validator": Text("independent validation", "独立验证"),
    "data": Text("data owner", "数据负责人"),
    "risk": Text("credit risk", "信用风险管理"),
    "operations": Text("review operations", "审查运营"),
    "compliance": Text("compliance", "合规"),
}


def plain(value: Any) -> Any:
    """A value as JSON holds it: numpy scalars as Python's, not-a-number as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Text):
        return {"en": value.en, "zh": value.zh}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    return value


@dataclass(frozen=True)
class Figure:
    """One number of the report.

    Attributes
    ----------
    key : stable identifier within its section
    unit : ``ratio`` (of 1), ``number``, ``count``, ``bps``, ``money`` or ``text``
    function : what computes it, as module:function
    inputs_sha256 : hash of what it was computed from
    tolerance : how far a recomputation may differ, relative
    test : the p-value that goes with it, with side, null hypothesis and detectable shift
    """

    key: str
    text: Text
    value: Any
    function: str
    inputs_sha256: str
    unit: str = "number"
    low: float | None = None
    high: float | None = None
    test: Test | None = None
    q_value: float | None = None
    note: Text | None = None
    tolerance: float = RECOMPUTED

    def as_dict(self) -> dict[str, Any]:
        """The figure as the document holds it."""
        found = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in ("test",)}
        found["test"] = None if self.test is None else self.test.as_dict()
        return {k: plain(v) for k, v in found.items()}


@dataclass(frozen=True)
class Column:
    """A column of a table: key, heading, unit as ``Figure.unit``."""

    key: str
    text: Text
    unit: str = "number"


@dataclass(frozen=True)
class Table:
    """Rows of numbers that come from one function and one set of inputs."""

    key: str
    caption: Text
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    function: str
    inputs_sha256: str
    tolerance: float = RECOMPUTED

    def as_dict(self) -> dict[str, Any]:
        """The table as the document holds it; a column that no row fills is named as absent."""
        rows = [plain(list(row)) for row in self.rows]
        kept = [k for k in range(len(self.columns)) if any(row[k] is not None for row in rows)]
        gone = [c for k, c in enumerate(self.columns) if k not in kept]
        return {
            "key": self.key,
            "caption": plain(self.caption),
            "columns": [
                {"key": c.key, "text": plain(c.text), "unit": c.unit}
                for c in (self.columns[k] for k in kept)
            ],
            "absent_columns": [plain(c.text) for c in gone],
            "rows": [[row[k] for k in kept] for row in rows],
            "function": self.function,
            "inputs_sha256": self.inputs_sha256,
            "tolerance": self.tolerance,
        }


@dataclass(frozen=True)
class Chart:
    """What a picture shows; ``render`` draws it. ``series`` are (name, x, y) in order.

    ``kind`` is ``line`` (shares against shares), ``steps`` (a function of a number) or ``bars`` (of
    a category, whose ``labels`` stand for x).
    """

    key: str
    kind: str
    title: Text
    axes: tuple[Text, Text]
    series: Sequence[tuple[Text, Sequence[float], Sequence[float]]]
    labels: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The chart as the document holds it."""
        return {
            "key": self.key,
            "kind": self.kind,
            "title": plain(self.title),
            "axes": plain(list(self.axes)),
            "labels": list(self.labels),
            "series": [
                {"text": plain(t), "x": plain(list(x)), "y": plain(list(y))}
                for t, x, y in self.series
            ],
        }


@dataclass(frozen=True)
class Finding:
    """Something that must be answered.

    Attributes
    ----------
    rule : identifier of the rule in ``rules`` that raised it
    severity : 2 minor, 3 major, 4 severe (the ECB's scale, on which 1 is none)
    owner : key of ``OWNERS``
    money_amt : what it is worth a year in the book's currency, where that can be said
    """

    rule: str
    severity: int
    text: Text
    owner: str
    evidence: str
    money_amt: float | None = None

    def as_dict(self, as_of: str) -> dict[str, Any]:
        """The finding with its owner's role and due date."""
        due = dt.date.fromisoformat(as_of) + dt.timedelta(days=DUE_DAYS[self.severity])
        return {
            "rule": self.rule,
            "severity": self.severity,
            "severity_text": plain(SEVERITIES[self.severity]),
            "text": plain(self.text),
            "owner": self.owner,
            "owner_text": plain(OWNERS[self.owner]),
            "due": due.isoformat(),
            "evidence": self.evidence,
            "money_amt": plain(self.money_amt),
        }


@dataclass
class Section:
    """One heading of the report; with ``absent`` it does not apply, and says why."""

    key: str
    title: Text
    about: Text
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    points: list[Text] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    absent: Text | None = None

    def as_dict(self) -> dict[str, Any]:
        """The section as the document holds it, without its findings."""
        return {
            "key": self.key,
            "title": plain(self.title),
            "about": plain(self.about),
            "applies": self.absent is None,
            "absent": plain(self.absent),
            "points": plain(self.points),
            "figures": [f.as_dict() for f in self.figures],
            "tables": [t.as_dict() for t in self.tables],
            "charts": [c.as_dict() for c in self.charts],
        }


def overall_grade(severities: Sequence[int]) -> int:
    """The report's grade by a stated rule: the worst finding's severity, 1 without any; three or
    more major findings are severe together.

    >>> overall_grade([]), overall_grade([2, 3]), overall_grade([3, 3, 3])
    (1, 3, 4)
    """
    if sum(s >= 3 for s in severities) >= 3:
        return 4
    return max(severities, default=1)
