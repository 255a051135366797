"""A small SVG canvas: text is escaped and measured, every picture has a title and a description."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from typing import Final

from training.report.texts import Language, Text

BLUE: Final = "#0B5CAD"
LIGHT_BLUE: Final = "#8DB9E2"
ORANGE: Final = "#C46A00"
SLATE: Final = "#44515E"
INK: Final = "#1B2530"
MUTED: Final = "#55616D"
GRID: Final = "#DCE2E8"
PAPER: Final = "#FFFFFF"
FONTS: Final = (
    "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'PingFang SC',"
    " 'Microsoft YaHei', 'Noto Sans CJK SC', 'Source Han Sans SC', sans-serif"
)
FONT_SIZE: Final = 13.0
_NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("", text)


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """A generous estimate of the width of a text in pixels."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return size * (wide + 0.62 * (len(text) - wide))


def fitted(text: str, width: float, size: float = FONT_SIZE) -> str:
    """The text, cut with an ellipsis where it is wider than ``width``."""
    text = clean(text)
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


class Canvas:
    """An SVG under construction.

    Parameters
    ----------
    name : identifier of the picture; identifiers inside it start with name and language
    width, height : user units, which are pixels at full size
    """

    def __init__(
        self,
        name: str,
        width: float,
        height: float,
        title: Text,
        description: Text,
        language: Language,
    ) -> None:
        key = f"{name}-{language}"
        self.language: Language = language
        self.root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width:g} {height:g}",
                "width": f"{width:g}",
                "height": f"{height:g}",
                "role": "img",
                "aria-labelledby": f"{key}-title {key}-desc",
                "font-family": FONTS,
                "font-size": f"{FONT_SIZE:g}",
                "fill": INK,
            },
        )
        if language != "both":
            self.root.set("lang", language)
        for tag, words in (("title", title), ("desc", description)):
            element = ET.SubElement(self.root, tag, {"id": f"{key}-{tag}"})
            element.text = clean(words.one_line(language))
        self.rect(0, 0, width, height, PAPER)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, **data: str
    ) -> ET.Element:
        """A filled rectangle; keyword arguments become attributes, ``_`` for ``-``."""
        return self._add(
            "rect", data, x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), fill=fill
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = GRID, **more: str
    ) -> ET.Element:
        """A straight line."""
        return self._add("line", more, x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke)

    def circle(self, x: float, y: float, radius: float, fill: str, **more: str) -> ET.Element:
        """A filled circle."""
        return self._add("circle", more, cx=x, cy=y, r=radius, fill=fill)

    def diamond(self, x: float, y: float, radius: float, fill: str, **more: str) -> ET.Element:
        """A square on its corner."""
        r = radius
        points = f"{x:g},{y - r:g} {x + r:g},{y:g} {x:g},{y + r:g} {x - r:g},{y:g}"
        return self._add("polygon", more, points=points, fill=fill)

    def text(self, x: float, y: float, text: str, **more: str) -> ET.Element:
        """A line of text; ``text_anchor`` and the like as keywords."""
        element = self._add("text", more, x=x, y=y)
        element.text = clean(text)
        return element

    def label(self, x: float, y: float, words: Text, width: float, **more: str) -> None:
        """A text in the canvas's language, or both, its lines stacked around height ``y``."""
        rows = words.lines(self.language)
        top = y - 8 * (len(rows) - 1)
        for k, row in enumerate(rows):
            shown = fitted(row, width, FONT_SIZE * (1.1 if more.get("font_weight") == "600" else 1))
            colour = {} if k == 0 or "fill" in more else {"fill": MUTED}
            element = self.text(x, top + 16 * k + 4.5, shown, **more, **colour)
            if shown != row:
                whole = ET.SubElement(element, "title")
                whole.text = clean(row)

    def legend(self, x: float, y: float, entries: list[tuple[str, str, Text]]) -> None:
        """Marks (``rect``, ``circle`` or ``diamond``), their colours and meanings, in one row."""
        for shape, colour, words in entries:
            if shape == "circle":
                self.circle(x + 6, y, 5, colour)
            elif shape == "diamond":
                self.diamond(x + 6, y, 6, colour)
            else:
                self.rect(x, y - 6, 12, 12, colour)
            shown = words.one_line(self.language)
            self.text(x + 18, y + 4.5, shown)
            x += 18 + text_width(shown) + 22

    def render(self) -> str:
        """The picture as markup."""
        return ET.tostring(self.root, encoding="unicode")

    def _add(self, tag: str, more: dict[str, str], **values: float | str) -> ET.Element:
        attributes = {k: v if isinstance(v, str) else f"{v:.2f}" for k, v in values.items()}
        attributes |= {k.replace("_", "-"): clean(v) for k, v in more.items()}
        return ET.SubElement(self.root, tag, attributes)
