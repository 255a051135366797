"""Short forms that every section uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from training.report.texts import Text
from training.validation.document import Column, Figure, Table
from training.validation.result import Test


def name_of(function: Callable[..., Any]) -> str:
    """A function as the document names it."""
    return f"{function.__module__}:{function.__qualname__}"


def figure(
    key: str,
    en: str,
    zh: str,
    value: Any,
    function: Callable[..., Any],
    inputs: str,
    unit: str = "number",
    **more: Any,
) -> Figure:
    """A figure with its texts and the function that computes it."""
    return Figure(key, Text(en, zh), value, name_of(function), inputs, unit, **more)


def column(key: str, en: str, zh: str, unit: str = "number") -> Column:
    """A column with its headings."""
    return Column(key, Text(en, zh), unit)


def table(
    key: str,
    en: str,
    zh: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    function: Callable[..., Any],
    inputs: str,
) -> Table:
    """A table with its caption and the function that computes its rows."""
    return Table(key, Text(en, zh), tuple(columns), rows, name_of(function), inputs)


def significant(test: Test, level: float) -> bool:
    """Whether a test speaks against its null at the level."""
    return test.p_value is not None and test.p_value < level
