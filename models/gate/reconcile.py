"""What a counter system enforces against what was decided, client by client. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_contracts.units import BPS_ONE, format_decimal

KINDS: Final = ("missing", "extra", "looser", "tighter")
"""``missing``: decided, not enforced. ``extra``: enforced, never decided. ``looser`` and
``tighter``: a limit, rate or line enforced for or against the client's own bound."""
LINES: Final = ("warn", "call", "force")


@dataclass(frozen=True)
class Terms:
    """Terms of one client.

    ``max_debt_amt`` and ``debt_amt`` in minor units, ``rate_bps``, ``lines`` as maintenance ratios
    in 1e-6 by name. What a counter system does not say is None, or left out of the lines.
    """

    max_debt_amt: int
    rate_bps: int | None
    lines: Mapping[str, int]
    debt_amt: int = 0


@dataclass(frozen=True)
class Difference:
    """One term of one client that is not as decided; ``amount`` is the money, minor units."""

    kind: str
    client_id: str
    term: str
    decided: str | None
    enforced: str | None
    amount: int

    def to_json(self) -> dict[str, Any]:
        """The difference with its money as a decimal string."""
        return {
            "kind": self.kind,
            "client_id": self.client_id,
            "term": self.term,
            "decided": self.decided,
            "enforced": self.enforced,
            "amount_amt": format_decimal(self.amount, 2),
        }


def _money(amount: int) -> str:
    return format_decimal(amount, 2)


def _of_client(client: str, decided: Terms, enforced: Terms) -> list[Difference]:
    found = []
    more = enforced.max_debt_amt - decided.max_debt_amt
    if more:
        found.append(
            Difference(
                "looser" if more > 0 else "tighter", client, "max_debt_amt",
                _money(decided.max_debt_amt), _money(enforced.max_debt_amt), abs(more),
            )
        )  # fmt: skip
    if enforced.rate_bps is not None and enforced.rate_bps != decided.rate_bps:
        assert decided.rate_bps is not None
        less = decided.rate_bps - enforced.rate_bps
        # a year's interest on what is owed, rounded up
        cost = -(-abs(less) * decided.debt_amt // BPS_ONE)
        found.append(
            Difference(
                "looser" if less > 0 else "tighter", client, "rate_bps",
                str(decided.rate_bps), str(enforced.rate_bps), cost,
            )
        )  # fmt: skip
    for name in LINES:
        if name in enforced.lines and enforced.lines[name] != decided.lines[name]:
            lower = decided.lines[name] - enforced.lines[name]
            found.append(
                Difference(
                    "looser" if lower > 0 else "tighter", client, f"{name}_line",
                    format_decimal(decided.lines[name], 6),
                    format_decimal(enforced.lines[name], 6), decided.debt_amt,
                )
            )  # fmt: skip
    return found


def reconcile(decided: Mapping[str, Terms], enforced: Mapping[str, Terms]) -> list[Difference]:
    """Every difference, by client and term.

    The money of a limit is the difference, of a rate a year's interest on the debt, of a line the
    debt it guards, of a client who is missing or extra the limit.
    """
    found: list[Difference] = []
    for client in sorted({*decided, *enforced}):
        d, e = decided.get(client), enforced.get(client)
        if e is None:
            assert d is not None
            found.append(
                Difference("missing", client, "max_debt_amt", _money(d.max_debt_amt), None,
                           d.max_debt_amt)
            )  # fmt: skip
        elif d is None:
            found.append(
                Difference("extra", client, "max_debt_amt", None, _money(e.max_debt_amt),
                           e.max_debt_amt)
            )  # fmt: skip
        else:
            found += _of_client(client, d, e)
    return found


def lends_more(differences: list[Difference]) -> bool:
    """Whether anything is enforced that gives a client more than was decided."""
    return any(d.kind == "looser" or (d.kind == "extra" and d.amount > 0) for d in differences)


def totals(differences: list[Difference]) -> dict[str, dict[str, Any]]:
    """Differences and their money by kind."""
    counts = Counter(d.kind for d in differences)
    return {
        kind: {
            "count": counts[kind],
            "amount_amt": _money(sum(d.amount for d in differences if d.kind == kind)),
        }
        for kind in KINDS
    }
