"""The pictures as SVG and PNG, by matplotlib: the same bytes for the same bundle.

Text stays text in SVG. A PNG with Chinese words needs an installed font that has them.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findSystemFonts, fontManager

from data_contracts.units import LOG_ODDS_ONE
from models.scorer.front import ZERO
from training.pictures.shapes import Axis, Heat, Shape
from training.report.svg import BLUE, FONT_SIZE, GRID, INK, LIGHT_BLUE, MUTED, ORANGE, SLATE
from training.report.texts import Language, Text

CHINESE_FONTS: Final = (
    "notosanscjk", "sourcehansans", "pingfang", "msyh", "simhei", "wqy", "notosanssc",
    "notoserifcjk",
)  # fmt: skip
"""How the files of fonts with Chinese characters begin, the preferred first."""
EFFECT: Final = Text("part of the log-odds", "对数几率贡献")
ROWS: Final = Text("rows, %", "样本，%")
MEAN, BAND = (
    Text("served", "实际使用"),
    Text("least and greatest of the bags", "各子模型的最小至最大"),
)
NO_BAND: Final = Text("one booster: no band", "单一模型，无区间带")
NOT_SEEN: Final = Text("no reference row", "无参照样本")
BASE, SCORE = Text("mean score", "平均得分"), Text("this row's score", "本行得分")
REST: Final = Text("{} other features", "其他 {} 个特征")
MOST_TICKS: Final = 8
MOST_STEPS: Final = 14
SKEWED: Final = 40.0
"""A range so many times the middle half of the thresholds is drawn bin by bin, not to scale."""


@cache
def chinese_font() -> str | None:
    """An installed font that has Chinese characters; None where there is none."""
    files = sorted(findSystemFonts())
    for start in CHINESE_FONTS:
        for file in files:
            stem = Path(file).stem.lower().replace("-", "")
            if stem.startswith(start) and "bold" not in stem:
                fontManager.addfont(file)
                return str(fontManager.ttflist[-1].name)
    return None


def _settings() -> Any:
    chinese = chinese_font()
    return {
        "font.family": ["DejaVu Sans", *([chinese] if chinese else [])],
        "font.size": FONT_SIZE * 0.7,
        "svg.fonttype": "none",
        "svg.hashsalt": "gearline",
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.unicode_minus": True,
        "text.parse_math": False,
    }


def _written(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    stamp = {"Date": None} if kind == "svg" else {"Software": None}
    with warnings.catch_warnings():
        # the text of an SVG is drawn by its reader, with the reader's fonts
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(out, format=kind, dpi=140, metadata=stamp)
    return out.getvalue()


def _text(words: Text, language: Language) -> str:
    return "\n".join(words.lines(language))


def number(value: float) -> str:
    """A threshold as people read it, four digits."""
    if not np.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) <= ZERO:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        return f"{float(f'{value:.4g}'):,.10g}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def _edges(axis: Axis) -> tuple[Any, bool]:
    """Where the bins begin and end on the page, and whether that is to scale."""
    edges = axis.edges
    if edges is None or axis.labels is not None:
        return np.arange(axis.bins + 1) - 0.5, False
    finite = edges[np.isfinite(edges)]
    if len(finite) == len(edges) and len(edges) > 1:
        span = float(edges[-1] - edges[0])
        middle = float(np.subtract(*np.quantile(edges, [0.75, 0.25])))
        if span <= SKEWED * middle:
            return np.r_[edges[0] - 0.06 * span, edges, edges[-1] + 0.06 * span], True
    return np.arange(axis.bins + 1) - 0.5, False


def _ticks(plot: Axes, axis: Axis, to_scale: bool, which: str = "x") -> None:
    """Names of bins, or thresholds between evenly spaced ones."""
    set_ticks = plot.set_xticks if which == "x" else plot.set_yticks
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if which == "x" else {}
    if axis.labels is not None:
        step = -(-len(axis.labels) // (2 * MOST_TICKS))
        shown = range(0, len(axis.labels), step)
        set_ticks(list(shown), [axis.labels[k][:18] for k in shown], **turned)
    elif axis.edges is not None and not to_scale:
        step = -(-len(axis.edges) // MOST_TICKS) or 1
        shown = range(step // 2, len(axis.edges), step)
        set_ticks([k + 0.5 for k in shown], [number(float(axis.edges[k])) for k in shown], **turned)


def _label(axis: Axis, language: Language) -> str:
    name = axis.name.one_line(language)
    unit = axis.unit.one_line(language)
    return f"{name}\n({unit})" if unit else name


def shape_figure(shape: Shape, language: Language) -> Figure:
    """A step for each bin, its band, the missing bin apart, and the rows of each bin below."""
    axis = shape.axis
    edges, to_scale = _edges(axis)
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    panes = figure.subplots(
        2, 2, sharex="col", sharey="row", width_ratios=(1, 11), height_ratios=(4, 1)
    )
    (gone, plot), (gone_rows, rows) = panes
    effect, count = shape.effect, shape.count
    for pane in (gone, plot):
        pane.axhline(0, color=GRID, zorder=0)
    if shape.low is not None and shape.high is not None:
        low, high = (np.append(v[1:], v[-1]) for v in (shape.low, shape.high))
        plot.fill_between(edges, low, high, step="post", color=LIGHT_BLUE, alpha=0.55, lw=0)
        gone.fill_between(
            [-0.3, 0.3], shape.low[0], shape.high[0], color=LIGHT_BLUE, alpha=0.55, lw=0
        )
    if axis.labels is not None:
        plot.hlines(effect[1:], edges[:-1] + 0.1, edges[1:] - 0.1, color=BLUE, lw=2)
    else:
        plot.step(edges, np.append(effect[1:], effect[-1]), where="post", color=BLUE, lw=1.8)
    gone.hlines(effect[0], -0.3, 0.3, color=BLUE, lw=2)
    share = 100 * count / max(float(count.sum()), 1.0)
    rows.bar(
        edges[:-1], share[1:], width=np.diff(edges), align="edge", color=SLATE, alpha=0.7, lw=0
    )
    gone_rows.bar([0], share[:1], width=0.6, color=SLATE, alpha=0.7)
    gone_rows.set_xlim(-0.6, 0.6)
    gone_rows.set_xticks([0], [_text(axis.nothing, language)])
    plot.set_xlim(edges[0], edges[-1])
    _ticks(rows, axis, to_scale)
    rows.set_xlabel(_label(axis, language))
    gone.set_ylabel(_text(EFFECT, language))
    gone_rows.set_ylabel(_text(ROWS, language))
    plot.plot([], [], color=BLUE, lw=1.8, label=MEAN.one_line(language))
    if shape.low is not None:
        plot.fill_between([], [], [], color=LIGHT_BLUE, alpha=0.55, label=BAND.one_line(language))
    else:
        plot.plot([], [], lw=0, label=NO_BAND.one_line(language))
    plot.legend(loc="best", frameon=False, fontsize="small")
    for pane in panes.ravel():
        pane.spines[["top", "right"]].set_visible(False)
    return figure


_COLOURS: Final = LinearSegmentedColormap.from_list("gearline", [BLUE, "#FFFFFF", ORANGE])


def heat_figure(heat: Heat, language: Language) -> Figure:
    """A cell for each pair of bins, evenly spaced; cells without a reference row are crossed."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    plot = figure.subplots()
    effect, count = heat.effect.T, heat.count.T
    most = float(np.abs(effect[count > 0]).max()) if (count > 0).any() else 0.0
    most = max(most, 1e-9)
    n, m = effect.shape
    wide, tall = max(1.0, 0.05 * m), max(1.0, 0.05 * n)
    across = np.r_[-0.5 - wide, np.arange(m) - 0.5]
    up = np.r_[-0.5 - tall, np.arange(n) - 0.5]
    mesh = plot.pcolormesh(across, up, effect, cmap=_COLOURS, vmin=-most, vmax=most)
    mesh.set_rasterized(True)
    unseen = np.ma.masked_where(count > 0, np.zeros_like(effect))
    plot.pcolor(across, up, unseen, hatch="xxx", alpha=0.0, lw=0, edgecolor=MUTED, zorder=2)
    plot.axvline(-0.5, color=SLATE, lw=1.2)
    plot.axhline(-0.5, color=SLATE, lw=1.2)
    for which, axis, size in (("x", heat.first, wide), ("y", heat.second, tall)):
        _ticks(plot, axis, False, which)
        ticks = plot.get_xticks() if which == "x" else plot.get_yticks()
        names = plot.get_xticklabels() if which == "x" else plot.get_yticklabels()
        put = plot.set_xticks if which == "x" else plot.set_yticks
        turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if which == "x" else {}
        put([-0.5 - size / 2, *ticks], [axis.nothing.one_line(language), *(t.get_text() for t in names)],
            **turned)  # fmt: skip
    plot.set_xlabel(_label(heat.first, language))
    plot.set_ylabel(_label(heat.second, language))
    plot.set_title(f"× {NOT_SEEN.one_line(language)}", fontsize="small", loc="right", color=MUTED)
    figure.colorbar(mesh, ax=plot, label=EFFECT.one_line(language))
    return figure


def waterfall_figure(
    parts: Sequence[tuple[str, int]], base: int, score: int, language: Language
) -> Figure:
    """From the mean score to a row's score, by its largest parts; integers in 2**-40."""
    ordered = sorted(parts, key=lambda p: (-abs(p[1]), p[0]))
    head, tail = ordered[:MOST_STEPS], ordered[MOST_STEPS:]
    rest = sum(p for _, p in tail)
    names = [name for name, _ in head]
    values = [p for _, p in head]
    if tail:
        names.append(REST.one_line(language).replace("{}", str(len(tail))))
        values.append(rest)
    figure = Figure(figsize=(6.8, 1.4 + 0.28 * len(values)), layout="constrained")
    plot = figure.subplots()
    level = np.r_[base, base + np.cumsum(values)] / LOG_ODDS_ONE
    assert round(level[-1] * LOG_ODDS_ONE) == score
    for k, value in enumerate(values):
        colour = ORANGE if value > 0 else BLUE
        plot.barh(k + 1, value / LOG_ODDS_ONE, left=level[k], height=0.66, color=colour)
        plot.plot([level[k + 1]] * 2, [k + 1.33, k + 1.67], color=MUTED, lw=0.8)
        shown = f"{value / LOG_ODDS_ONE:+.3f}".replace("-", "−")
        plot.annotate(
            shown, (max(level[k], level[k + 1]), k + 1), (4, 0), textcoords="offset points",
            va="center", fontsize="small",
        )  # fmt: skip
    for where, end in ((0, base), (len(values) + 1, score)):
        at = end / LOG_ODDS_ONE
        plot.plot([at], [where], marker="D", color=SLATE, ms=6)
        shown = f"{at:.3f}".replace("-", "−")
        plot.annotate(
            shown, (at, where), (8, 0), textcoords="offset points", va="center", fontsize="small"
        )
    labels = [BASE.one_line(language), *names, SCORE.one_line(language)]
    plot.set_yticks(range(len(labels)), labels)
    plot.invert_yaxis()
    plot.use_sticky_edges = False
    plot.margins(x=0.14)
    plot.set_xlabel(EFFECT.one_line(language))
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def write(figure: Figure, path: Path, kinds: Sequence[str]) -> list[str]:
    """Write ``path`` with each suffix; the names written."""
    names = []
    for kind in kinds:
        target = path.with_name(f"{path.name}.{kind}")
        target.write_bytes(_written(figure, kind))
        names.append(target.name)
    return names


def styled() -> Any:
    """The context that every figure is made and written in."""
    return mpl.rc_context(_settings())
