"""The one exception a user may see: it states the rule, the value and the way out."""

from __future__ import annotations


class InputError(ValueError):
    """Refused input. The command line prints the message as one line and exits with 2."""
