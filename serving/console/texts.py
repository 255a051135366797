"""Every word of the console, in English and simplified Chinese: one catalogue, one look-up."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

import yaml

from data_contracts.errors import InputError

LANGUAGES: Final = ("en", "zh")
TAGS: Final = {"en": "en", "zh": "zh-Hans"}
"""The BCP 47 tag that a page states, by language."""


def _flat(prefix: str, found: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    made: dict[str, tuple[str, str]] = {}
    for name, value in found.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict):
            made |= _flat(key, value)
        else:
            en, zh = value
            made[key] = (str(en), str(zh))
    return made


def _load() -> dict[str, tuple[str, str]]:
    made: dict[str, tuple[str, str]] = {}
    folder = resources.files("serving.console") / "words"
    for name in ("screens", "terms"):
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        made |= _flat("", yaml.safe_load(text))
    return made


WORDS: Final = _load()
"""Key to English and Chinese."""


class Words:
    """The catalogue in one language.

    >>> Words("en")("role.reviewer"), Words("zh")("role.reviewer")
    ('Reviewer', '审核员')
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key, its arguments filled in; an unknown key is a mistake of ours."""
        if key not in WORDS:
            raise InputError(f"the console has no words {key!r}; add them in both languages")
        text = WORDS[key][self._place]
        return text.format(**values) if values else text

    def term(self, group: str, name: object) -> str:
        """A code's name; a code that a later version brought is shown as it is."""
        found = WORDS.get(f"{group}.{name}")
        return str(name) if found is None else found[self._place]
