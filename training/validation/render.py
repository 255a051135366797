"""The report's pages: HTML in English and Chinese from the document, PDF where Chromium is present."""

from __future__ import annotations

import base64
import math
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from data_contracts.lake import write_atomically
from training.report.formats import DASH, is_null, number, percent
from training.report.svg import BLUE, GRID, LIGHT_BLUE, MUTED, ORANGE, Canvas, clean, fitted
from training.report.texts import Language, Text
from training.validation.conventions import in_chinese

LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PRINT_SECONDS: Final = 120
WIDTH, HEIGHT = 420.0, 300.0
COLOURS: Final = (BLUE, ORANGE, LIGHT_BLUE)


def _asset(name: str) -> str:
    return (resources.files("training.validation") / name).read_text(encoding="utf-8")


def font_face() -> str:
    """The style rule of the shipped font subset, embedded; empty where the file is not there."""
    path = resources.files("training.validation") / "fonts" / "GearlineReportSans.woff"
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        '@font-face{font-family:"Gearline Report Sans";font-display:block;'
        f'src:url("data:font/woff;base64,{data}") format("woff")}}'
    )


def shown(value: Any, unit: str, language: Language) -> str:
    """A value as its unit is read; an undefined one is an en dash."""
    if isinstance(value, Mapping):
        return str(value[language])
    if is_null(value):
        return DASH
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value[:16] if unit == "hash" else value
    if unit == "count":
        return number(value)
    if unit == "ratio":
        return percent(value)
    if unit == "bps":
        return number(value, 1)
    if unit == "money":
        return number(value)
    if unit == "p":
        if value < 1e-4:
            return f"{value:.0e}" if value > 0 else "< 1e-300"
        return f"{value:.4f}"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return number(value, 0 if float(value).is_integer() else 1)
    if size < 1e-3:
        return f"{value:.1e}".replace("-", "−", 1) if value < 0 else f"{value:.1e}"
    return number(value, 0 if isinstance(value, int) else 3 if size < 10 else 2)


def _ticks(low: float, high: float) -> list[float]:
    if high <= low:
        return [low]
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick_text(tick: float) -> str:
    """A tick as short as it is exact: 15k, 2.5M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(tick) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{tick / unit:.4g}{letter}".replace("-", "−")
    return f"{tick:.4g}".replace("-", "−")


def bars_svg(chart: Mapping[str, Any], language: Language) -> str:
    """A bar for each level of a category, from zero to the right or to the left."""
    [series] = chart["series"]
    values, names = series["y"], chart["labels"]
    row, width, left = 17.0, 300.0, 92.0
    height = row * len(values) + 34
    canvas = Canvas(
        chart["key"], width, height, Text(**chart["title"]),
        Text(chart["axes"][1]["en"], chart["axes"][1]["zh"]), language,
    )  # fmt: skip
    low, high = min(0.0, *values), max(0.0, *values)
    scale = (width - 20 - left) / ((high - low) or 1.0)
    zero = left - low * scale
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = 6 + row * k
        shown_name = fitted(name, left - 10, 11)
        canvas.text(left - 6, y + 11, shown_name, text_anchor="end", font_size="11", fill=MUTED)
        canvas.rect(min(zero, zero + value * scale), y + 2, abs(value) * scale, row - 5, BLUE)
    canvas.line(zero, 4, zero, height - 28, MUTED)
    for tick in _ticks(low, high):
        text = _tick_text(tick)
        canvas.text(
            zero + tick * scale, height - 16, text, text_anchor="middle", font_size="11", fill=MUTED
        )
    canvas.text(
        left + (width - left) / 2,
        height - 2,
        chart["axes"][1][language],
        text_anchor="middle",
        font_size="11",
        fill=MUTED,
    )
    return canvas.render()


def chart_svg(chart: Mapping[str, Any], language: Language) -> str:
    """A line or step chart; a chart of shares has both axes from 0."""
    if chart["kind"] == "bars":
        return bars_svg(chart, language)
    small = chart["kind"] == "steps"
    width, height = (300.0, 200.0) if small else (WIDTH, HEIGHT)
    left, right, top, bottom = 58.0, width - 14, 30.0 if not small else 12.0, height - 44
    canvas = Canvas(
        chart["key"], width, height, Text(**chart["title"]),
        Text(chart["axes"][1]["en"], chart["axes"][1]["zh"]), language,
    )  # fmt: skip
    points = [(x, y) for s in chart["series"] for x, y in zip(s["x"], s["y"], strict=True)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys), max(ys)
    if not small:
        low_x, low_y = 0.0, 0.0
    pad = (high_y - low_y) * 0.06 or 0.5
    low_y, high_y = (low_y - pad, high_y + pad) if small else (low_y, high_y * 1.02)
    if high_x <= low_x:
        high_x = low_x + 1

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - low_x) / (high_x - low_x) * (right - left),
            bottom - (y - low_y) / (high_y - low_y) * (bottom - top),
        )

    for tick in _ticks(low_y, high_y):
        y = at(low_x, tick)[1]
        canvas.line(left, y, right, y)
        canvas.text(
            left - 6,
            y + 4,
            _tick_text(tick),
            text_anchor="end",
            font_size="11",
            fill=MUTED,
        )
    for tick in _ticks(low_x, high_x)[:: 2 if small else 1]:
        x = at(tick, low_y)[0]
        canvas.line(x, bottom, x, bottom + 4, GRID)
        canvas.text(
            x,
            bottom + 16,
            _tick_text(tick),
            text_anchor="middle",
            font_size="11",
            fill=MUTED,
        )
    canvas.line(left, bottom, right, bottom, MUTED)
    for k, series in enumerate(chart["series"]):
        dots = [at(x, y) for x, y in zip(series["x"], series["y"], strict=True)]
        if small:
            flat = [dots[0]]
            for x, y in dots[1:]:
                flat += [(x, flat[-1][1]), (x, y)]
            dots = flat
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in dots)
        line = ET.SubElement(canvas.root, "polyline", {"points": path, "fill": "none"})
        line.set("stroke", COLOURS[k % 3])
        line.set("stroke-width", "1.8")
        if k > 0:
            line.set("stroke-dasharray", "5 4")
    if not small:
        canvas.legend(
            left, 12,
            [("rect", COLOURS[k % 3], Text(s["text"]["en"], s["text"]["zh"])) for k, s in enumerate(chart["series"])],
        )  # fmt: skip
    canvas.text(
        (left + right) / 2,
        height - 8,
        chart["axes"][0][language],
        text_anchor="middle",
        font_size="11",
        fill=MUTED,
    )
    return canvas.render()


def _page(document: Mapping[str, Any], seal: Mapping[str, str], language: Language) -> str:
    environment = Environment(
        loader=DictLoader({"report": _asset("report.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = {
        f"{s['key']}.{c['key']}": Markup(chart_svg(c, language))
        for s in document["sections"]
        for c in s["charts"]
    }
    return environment.get_template("report").render(
        d=document,
        seal=seal,
        lang=language,
        say=lambda text: text[language],
        t=lambda en, zh: zh if language == "zh" else en,
        show=lambda value, unit="number": shown(value, unit, language),
        charts=charts,
        convention=in_chinese if language == "zh" else str,
        titles={
            **{s["key"]: s["title"][language] for s in document["sections"]},
            "findings": "发现" if language == "zh" else "Findings",
            "triggers": "触发条件" if language == "zh" else "Triggers",
        },
        is_number=lambda unit: unit not in ("text", "hash"),
        style=Markup(font_face() + _asset("report.css")),
    )


def print_pdf(page: Path, out: Path) -> str | None:
    """Print a page by Chromium; None when done, else why there is no PDF.

    The browser runs headless with a profile of its own, without network.
    """
    browser = next((b for b in map(shutil.which, BROWSERS) if b), None)
    if browser is None:
        return "no PDF: Chromium was not found; open the HTML and print it"
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--disable-gpu", "--no-sandbox", "--no-first-run",
            "--disable-extensions", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}", "--no-pdf-header-footer",
            f"--print-to-pdf={out.resolve()}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            ran = subprocess.run(command, capture_output=True, timeout=PRINT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"no PDF: Chromium failed ({type(error).__name__}); open the HTML and print it"
    if ran.returncode or not out.is_file():
        return f"no PDF: Chromium ended with {ran.returncode}; open the HTML and print it"
    return None


def write_pages(
    out: Path, document: Mapping[str, Any], seal: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Write both pages and, where Chromium is present, both PDFs; returns files and notes."""
    files, notes = [], []
    for language in LANGUAGES:
        page = out / f"report.{language}.html"
        write_atomically(page, clean(_page(document, seal, language)).encode())
        files.append(page.name)
        printed = out / f"report.{language}.pdf"
        why = print_pdf(page, printed)
        if why is None:
            files.append(printed.name)
        elif why not in notes:
            notes.append(why)
    return files, notes
