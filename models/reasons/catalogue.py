"""The catalogue of reasons: one stable code, one audience, one text a language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Literal

import yaml

from data_contracts.errors import InputError

Language = Literal["en", "zh"]
AUDIENCES: Final = ("client", "staff", "compliance")
"""In order: a reader sees reasons of its own audience and of those before it."""


@dataclass(frozen=True)
class ReasonText:
    """What a reason code says and to whom. Texts may name arguments in braces."""

    code: str
    audience: str
    en: str
    zh: str


def _load() -> dict[str, ReasonText]:
    text = (resources.files("models.reasons") / "catalogue.yaml").read_text(encoding="utf-8")
    made = {}
    for code, item in yaml.safe_load(text).items():
        if item["audience"] not in AUDIENCES:
            raise InputError(
                f"reason {code}: audience {item['audience']!r} is none of {', '.join(AUDIENCES)}"
            )
        made[code] = ReasonText(code, item["audience"], item["en"], item["zh"])
    return made


CATALOGUE: Final = _load()


def render(
    reason: Mapping[str, Any],
    language: Language,
    reader: str,
    names: Mapping[str, str] | None = None,
) -> str | None:
    """The text of a decision's reason for a reader, or None where it is not for that reader's eyes.

    ``names`` maps feature names to their display names in the language.
    """
    entry = CATALOGUE.get(reason["code"])
    if entry is None:
        raise InputError(
            f"there is no reason {reason['code']!r}; the decision is of a later version"
        )
    if reader not in AUDIENCES:
        raise InputError(f"there is no reader {reader!r}; readers are {', '.join(AUDIENCES)}")
    if AUDIENCES.index(entry.audience) > AUDIENCES.index(reader):
        return None
    arguments = dict(reason["args"])
    if names and "feature" in arguments:
        arguments["feature"] = names.get(arguments["feature"], arguments["feature"])
    return (entry.zh if language == "zh" else entry.en).format(**arguments)
