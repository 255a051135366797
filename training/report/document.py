"""A self-contained page in two languages out of texts, tables and pictures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from training.report.svg import clean
from training.report.texts import Language, Text

TEMPLATE: Final = "document.html.j2"
LANGUAGES: Final[tuple[Language, Language]] = ("en", "zh")
Cell = Text | str
Card = tuple[Text, str, Text | None]


@dataclass(frozen=True)
class Table:
    """A table with a caption; ``numbers`` are the columns set to the right."""

    caption: Text
    head: tuple[Text, ...]
    rows: list[tuple[Cell, ...]]
    numbers: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        wrong = [r for r in self.rows if len(r) != len(self.head)]
        if wrong or not self.rows:
            raise InputError(
                f"table {self.caption.en!r} has {len(self.rows)} rows, {len(wrong)} of them not"
                f" {len(self.head)} cells wide; say why it is empty instead"
            )


@dataclass(frozen=True)
class Section:
    """A heading with texts, pictures and tables. Each picture has a table beside it that says the same.

    ``draw`` makes a picture in a language.
    """

    title: Text
    texts: tuple[Text, ...] = ()
    tables: tuple[Table, ...] = ()
    draw: tuple[Callable[[Language], str], ...] = field(default=())

    @property
    def pictures(self) -> list[tuple[str, Markup]]:
        """Every picture once a language."""
        return [(lang, Markup(draw(lang))) for draw in self.draw for lang in LANGUAGES]


def _asset(name: str) -> str:
    return (resources.files("training.report") / name).read_text(encoding="utf-8")


def render_document(
    title: Text, lead: Sequence[Text], cards: Sequence[Card], sections: Sequence[Section]
) -> str:
    """The page as markup; it reaches no network and shows both languages, one at a time."""
    script = _asset("switch.js")
    environment = Environment(
        loader=DictLoader({TEMPLATE: _asset(TEMPLATE)}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return clean(
        environment.get_template(TEMPLATE).render(
            title=title,
            lead=lead,
            cards=cards,
            sections=sections,
            style=Markup(_asset("style.css")),
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def write_page(path: Path, page: str) -> str:
    """Write a page; returns its path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
    return str(path)
