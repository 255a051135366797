"""The keys that docs/json.md promises, for the documents of these verbs too."""

from tests.cli.conftest import json_page, undocumented

__all__ = ["json_page", "undocumented"]
