"""People's overrides on record: which bind on a day, for the service, the night and reconciling."""

from __future__ import annotations

import datetime as dt
from typing import Final

from data_contracts.case import Override
from data_contracts.units import parse_decimal
from serving.ledger import LedgerReader, StoredEntry

IN_FORCE: Final = "override_in_force"
LIFTED: Final = "override_lifted"
_AT_ONCE: Final = 10_000


def binding(entry: StoredEntry, day: dt.date) -> Override | None:
    """The override of an entry on a day; None if it takes one back, or has run out."""
    body = entry.body
    until = body.get("expires_on")
    lapsed = until is not None and str(until) < day.isoformat()
    if entry.kind != IN_FORCE or lapsed:
        return None
    return Override(
        parse_decimal(str(body["max_debt_amt"]), 2, "max_debt_amt"),
        str(body["proposal_id"]),
        str(body["supersedes"]),
        body.get("loosens") is True,
    )


def in_force(reader: LedgerReader, day: dt.date, before: int | None = None) -> dict[str, Override]:
    """By client, the override that binds on a day: the last word on each client counts.

    ``before`` leaves out entries from that position on: a night that is decided again, or goes on,
    sees what was on record when it began.
    """
    last: dict[str, StoredEntry] = {}
    for kind in (IN_FORCE, LIFTED):
        place = before
        while found := reader.latest(f"kind/{kind}", _AT_ONCE, place):
            for entry in found:
                client = str(entry.body["client_id"])
                if client not in last or last[client].position < entry.position:
                    last[client] = entry
            place = found[-1].position
    every = {client: binding(entry, day) for client, entry in last.items()}
    return {client: override for client, override in every.items() if override is not None}
