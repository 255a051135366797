"""The comparison's files: ``challenge.json``, and a page in English and one in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from data_contracts.lake import write_atomically
from training.report.svg import clean
from training.report.texts import Language
from training.validation.render import LANGUAGES, font_face, shown
from training.validation.signing import report_bytes

DOCUMENT: Final = "challenge.json"


def page(document: Mapping[str, Any], language: Language) -> str:
    """The document as HTML that needs nothing else."""
    own = resources.files("training.challenge") / "page.html.j2"
    style = resources.files("training.validation") / "report.css"
    environment = Environment(
        loader=DictLoader({"page": own.read_text(encoding="utf-8")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page").render(
        d=document,
        lang=language,
        say=lambda text: text[language],
        t=lambda en, zh: zh if language == "zh" else en,
        show=lambda value, unit="number": shown(value, unit, language),
        style=Markup(font_face() + style.read_text(encoding="utf-8")),
    )


def write_challenge(out: Path, document: dict[str, Any]) -> list[str]:
    """Write the files into a folder; their names."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / DOCUMENT, report_bytes(document))
    names = [DOCUMENT]
    for language in LANGUAGES:
        name = f"challenge.{language}.html"
        write_atomically(out / name, clean(page(document, language)).encode())
        names.append(name)
    return names
