"""The charts of the book: default by tier, distributions, what bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_contracts.units import FloatArray
from training.report.formats import DASH, is_null, number, percent
from training.report.svg import BLUE, GRID, LIGHT_BLUE, MUTED, ORANGE, Canvas
from training.report.texts import Language, Term, Text, same
from training.report.waterfall import nice_step

WIDTH = 860.0
MOST_BINS = 30
TIER_GROUPS: tuple[tuple[frozenset[str], Text, str], ...] = (
    (frozenset({"1", "2"}), Text("tiers 1 and 2", "1、2 级"), BLUE),
    (frozenset({"3", "4", "5"}), Text("tiers 3 to 5", "3 至 5 级"), LIGHT_BLUE),
    (frozenset({"6", "7", "D"}), Text("tiers 6, 7 and D", "6、7 及 D 级"), ORANGE),
)


def tier_svg(tiers: Sequence[dict[str, Any]], horizon: int, language: Language) -> str:
    """Predicted and realised default rate of each tier on a log scale; zero has its own band."""
    height, left, right, top, bottom = 340.0, 70.0, WIDTH - 20, 52.0, 258.0
    canvas = Canvas(
        "tiers",
        WIDTH,
        height,
        Text("Predicted and realised default by tier", "各等级预测违约率与实际违约率"),
        Text(
            f"Log scale, {horizon} sessions. Circle: predicted."
            " Diamond: realised. A rate of zero or an undefined one stands"
            " in the band below the scale.",
            f"对数刻度，窗口 {horizon} 个交易日。圆点为预测值，菱形为实际值。"
            "零或无定义的值列于刻度下方。",
        ),
        language,
    )
    canvas.legend(
        left,
        20,
        [
            ("circle", BLUE, Text(f"predicted, {horizon} sessions", f"预测（{horizon} 个交易日）")),
            (
                "diamond",
                ORANGE,
                Text(f"realised, {horizon} sessions", f"实际（{horizon} 个交易日）"),
            ),
        ],
    )
    keys = ("predicted_over_horizon", "realised_rate")
    known_rates = [float(t[k]) for t in tiers for k in keys if not is_null(t.get(k))]
    rates = [r for r in known_rates if r > 0]
    low = math.floor(math.log10(min(rates))) if rates else -3
    high = max(math.ceil(math.log10(max(rates))), low + 1) if rates else 0

    def at(rate: float) -> float:
        return bottom - (math.log10(rate) - low) / (high - low) * (bottom - top)

    for power in range(low, high + 1):
        canvas.line(left, at(10.0**power), right, at(10.0**power))
        canvas.text(left - 10, at(10.0**power) + 4.5, f"{10.0**power * 100:g} %", text_anchor="end")
    band = bottom + 26
    canvas.rect(left, bottom + 12, right - left, 28, "#F1F4F7")
    canvas.text(left - 10, band + 4.5, "0 %", text_anchor="end")
    slot = (right - left) / max(len(tiers), 1)
    for k, tier in enumerate(tiers):
        x = left + slot * (k + 0.5)
        name = str(tier.get("tier"))
        canvas.label(
            x, height - 30, Text(f"tier {name}", f"{name} 级"), slot - 4, text_anchor="middle"
        )
        for key, shift, mark in zip(keys, (-8.0, 8.0), ("circle", "diamond"), strict=True):
            rate: Any = tier.get(key)
            colour = BLUE if mark == "circle" else ORANGE
            if is_null(rate):
                canvas.text(x + shift, band + 4.5, DASH, text_anchor="middle", fill=MUTED)
                continue
            y = band if rate == 0 else at(float(rate))
            known = {"data_tier": name, "data_kind": key, "data_value": repr(float(rate))}
            if mark == "circle":
                canvas.circle(x + shift, y, 6, colour, **known)
            else:
                canvas.diamond(x + shift, y, 7, colour, **known)
    return canvas.render()


def bin_edges(values: FloatArray) -> tuple[FloatArray, bool]:
    """Edges of equal bins on round numbers, and whether the last bin is open above.

    Where a few values lie far out, the last bin takes all above the 99th percentile.
    """
    low, high = float(values.min()), float(values.max())
    most = float(np.quantile(values, 0.99))
    is_open = high > low + 1.6 * (most - low) and most > low
    span = (most if is_open else high) - low
    if span == 0:
        return np.array([low, low + 1.0]), False
    step = nice_step(span, MOST_BINS - 8)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil((low + span) / step - 1e-9), first + 1)
    return np.arange(first, last + 1 + is_open, dtype=np.float64) * step, is_open


def histogram_svg(
    name: str,
    title: Text,
    axis: Text,
    values: FloatArray,
    tier: Sequence[str],
    show: Callable[[float], str],
    language: Language,
) -> str:
    """A histogram of decisions, stacked by tier group; NaN is left out."""
    height, left, right, top, bottom = 320.0, 70.0, WIDTH - 20, 52.0, 256.0
    known = ~np.isnan(values)
    values, tiers = values[known], np.array(tier, dtype=object)[known]
    words = Text("No values.", "无数值。")
    if len(values):
        middle, low, high = (show(float(v)) for v in np.quantile(values, [0.5, 0, 1]))
        n = number(len(values))
        words = Text(
            f"{n} decisions from {low} to {high}, median {middle}.",
            f"{n} 笔决定，介于 {low} 与 {high} 之间，中位数 {middle}。",
        )
    canvas = Canvas(name, WIDTH, height, title, words, language)
    canvas.label((left + right) / 2, height - 16, axis, right - left, text_anchor="middle")
    if not len(values):
        canvas.text((left + right) / 2, (top + bottom) / 2, DASH, text_anchor="middle")
        return canvas.render()
    edges, is_open = bin_edges(values)
    tiny = (edges[1] - edges[0]) / 1e6  # a value on an edge belongs above it
    inside = np.minimum(values, edges[-1] - 2 * tiny)
    counts = [
        np.histogram(inside[np.isin(tiers, list(group))], edges - tiny)[0]
        for group, _, _ in TIER_GROUPS
    ]
    canvas.legend(left, 20, [("rect", colour, text) for _, text, colour in TIER_GROUPS])
    most = max(int(np.sum(counts, axis=0).max()), 1)
    step = max(nice_step(most, 5), 1)
    ceiling = math.ceil(most / step) * step
    for level in np.arange(0, ceiling + step / 2, step):
        y = bottom - level / ceiling * (bottom - top)
        canvas.line(left, y, right, y)
        canvas.text(left - 10, y + 4.5, number(float(level)), text_anchor="end")
    width = (right - left) / (len(edges) - 1)
    for k in range(len(edges) - 1):
        y = bottom
        for (_, _, colour), count in zip(TIER_GROUPS, counts, strict=True):
            tall = int(count[k]) / ceiling * (bottom - top)
            if count[k]:
                canvas.rect(
                    left + k * width + 1,
                    y - tall,
                    width - 2,
                    tall,
                    colour,
                    data_value=str(int(count[k])),
                )
            y -= tall
    every = next(m for m in (1, 2, 5, 10, 20, 50) if m * width >= 60)
    first, last = round(edges[0] / (edges[1] - edges[0])), len(edges) - 1 - is_open
    for k in range(last + 1):
        is_tail = is_open and k == last
        if not is_tail and ((first + k) % every or (is_open and (last - k) * width < 70)):
            continue
        x = left + k * width
        canvas.line(x, bottom, x, bottom + 5, MUTED)
        canvas.text(
            x,
            bottom + 21,
            ("≥ " if is_open and k == last else "") + show(float(edges[k])),
            text_anchor="middle",
        )
    canvas.line(left, bottom, right, bottom, MUTED)
    return canvas.render()


def bars_svg(
    name: str,
    title: Text,
    description: Text,
    counts: Mapping[str, int],
    texts: Mapping[str, Term],
    language: Language,
) -> str:
    """Horizontal bars of counts, largest first, with the share of all."""
    rows = sorted(counts.items(), key=lambda item: -(item[1] or 0))
    row, left, right = 29.0, 250.0, WIDTH - 150
    canvas = Canvas(name, WIDTH, row * len(rows) + 16, title, description, language)
    total = sum(c or 0 for c in counts.values())
    most = max([c or 0 for c in counts.values()] + [1])
    canvas.line(left, 4, left, row * len(rows) + 12, GRID)
    for k, (code, count) in enumerate(rows):
        y = 8 + row * (k + 0.5)
        words = texts[code].name if code in texts else same(code)
        canvas.label(left - 12, y, words, left - 20, text_anchor="end")
        if count:
            canvas.rect(
                left,
                y - 9,
                max((right - left) * count / most, 1.5),
                18,
                BLUE,
                data_value=str(count),
            )
        share = percent(count / total if total and count is not None else None)
        canvas.text(WIDTH - 8, y + 4.5, f"{number(count)} · {share}", text_anchor="end")
    return canvas.render()
