"""Waterfalls: from a start through signed steps to a total, as integers that must agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from data_contracts.errors import InputError
from training.report.formats import DASH, MINUS
from training.report.svg import BLUE, GRID, MUTED, ORANGE, SLATE, Canvas, text_width
from training.report.texts import Language, Text

WIDTH = 860.0
LABELS = 262.0
VALUES = 150.0
TOP = 46.0


@dataclass(frozen=True)
class Bar:
    """A row of a waterfall. ``value`` is None where the step does not apply."""

    label: Text
    value: int | None


def nice_step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, so that about ``count`` steps cover the span."""
    raw = max(span, 1e-12) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.999) * power)


def waterfall_svg(
    *,
    name: str,
    title: Text,
    description: Text,
    start: Bar,
    steps: Sequence[Bar],
    total: Bar,
    up: Text,
    down: Text,
    adverse: Literal[1, -1],
    show: Callable[[int], str],
    show_change: Callable[[int], str],
    language: Language,
    from_zero: bool = True,
) -> str:
    """A horizontal waterfall as SVG.

    Each bar carries its integer in ``data-value`` and its kind in ``data-kind``.

    Parameters
    ----------
    start, steps, total : ``start`` and the steps must sum to ``total``
    up, down : what a step above and below zero does, in words
    adverse : the sign that is against the client, drawn orange; the other is blue
    show, show_change : a value, and a signed change, as text
    from_zero : whether start and total are bars from zero; else they are marks on the scale

    Raises
    ------
    InputError
        If the bars do not sum to the total.
    """
    if start.value is None or total.value is None:
        raise InputError(f"waterfall {name} has no start or no total; there is nothing to draw")
    if start.value + sum(s.value or 0 for s in steps) != total.value:
        raise InputError(f"waterfall {name} does not sum to its total; the decision is damaged")
    row = 40.0 if language == "both" else 29.0
    top = TOP + (34 if language == "both" else 0)
    bottom = top + row * (len(steps) + 2)
    height = bottom + 26
    canvas = Canvas(name, WIDTH, height, title, description, language)
    if language == "both":
        canvas.text(8, 24, title.one_line(language), font_size="16", font_weight="600")
    for k in (0, len(steps) + 1):
        canvas.rect(0, top + row * k + 1, WIDTH, row - 2, "#F1F4F7")

    levels = [start.value]
    for step in steps:
        levels.append(levels[-1] + (step.value or 0))
    low, high = min(levels), max(levels)
    if from_zero:
        low, high = min(low, 0), max(high, 0)
    span = float(high - low) or 1.0
    pad = 0.0 if from_zero else 0.06 * span
    left, right = LABELS + 14, WIDTH - VALUES - 14

    def at(value: float) -> float:
        return left + (value - low + pad) / (span + 2 * pad) * (right - left)

    canvas.legend(
        left,
        top - 28,
        [
            (
                "rect",
                ORANGE if sign == adverse else BLUE,
                Text(f"{mark} {words.en}", f"{mark} {words.zh}"),
            )
            for sign, mark, words in ((1, "+", up), (-1, MINUS, down))
            if any((s.value or 0) * sign > 0 for s in steps)
        ],
    )
    canvas.line(left, top - 6, left, bottom + 2, GRID)
    canvas.line(right, top - 6, right, bottom + 2, GRID)
    if from_zero and low < 0:
        canvas.line(at(0), top - 6, at(0), bottom + 2, MUTED)
    for x, anchor, end in ((left, "start", low - pad), (right, "end", high + pad)):
        canvas.text(x, bottom + 18, show(round(end)), text_anchor=anchor, fill=MUTED)

    rows = [("start", start), *(("step", s) for s in steps), ("total", total)]
    running = start.value
    for k, (kind, bar) in enumerate(rows):
        middle = top + row * (k + 0.5)
        weight = "400" if kind == "step" else "600"
        canvas.label(LABELS, middle, bar.label, LABELS - 6, text_anchor="end", font_weight=weight)
        value = bar.value
        known = {"data_kind": kind, "data_value": "" if value is None else str(value)}
        if kind != "step":
            level = int(value or 0)
            if from_zero:
                edge, width = min(at(0), at(level)), abs(at(level) - at(0))
            else:
                edge, width = at(level) - 3, 6.0
            canvas.rect(edge, middle - 9, max(width, 1.5), 18, SLATE, **known)
            shown = show(level)
        elif value is None:
            canvas.line(at(running) - 4, middle, at(running) + 4, middle, MUTED, **known)
            shown = DASH
        else:
            before, running = running, running + value
            colour = ORANGE if value * adverse > 0 else BLUE if value else MUTED
            edge, width = min(at(before), at(running)), abs(at(running) - at(before))
            canvas.rect(edge, middle - 9, max(width, 1.5), 18, colour, **known)
            shown = show_change(value) if value else "0"
        size = min(13.0, 13.0 * (VALUES - 6) / max(text_width(shown), 1.0))
        canvas.text(
            WIDTH - 8,
            middle + 4.5,
            shown,
            text_anchor="end",
            font_size=f"{size:.2f}",
            font_weight=weight,
        )
        if k + 1 < len(rows):
            x = at(running)
            canvas.line(x, middle + 9, x, middle + row - 9, MUTED, stroke_dasharray="2 2")
    return canvas.render()
