"""The models in role as the ledger has them, and where a lake keeps their bundles and reports."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from data_contracts.errors import InputError
from models.bundle import KEPT_FOLDER, Bundle, kept_bundle
from models.lifecycle import CLIENTS, KINDS, Lineup, lineup_at, purpose_of
from serving.ledger import LedgerReader, Location, StoredEntry, exists

KEPT_REPORTS: Final = "validation"
"""Signed validation reports by hash, below the lake."""
_AT_ONCE: Final = 1000


def kept_report(report_sha256: str) -> str:
    """Where the report of a promotion lies, relative to the lake."""
    return f"{KEPT_REPORTS}/{report_sha256[:16]}"


def placements(reader: LedgerReader, before: int | None = None) -> list[StoredEntry]:
    """Every entry that gives a model a role or a review date, up to a position."""
    found: list[StoredEntry] = []
    for kind in KINDS:
        place = before
        while some := reader.latest(f"kind/{kind}", _AT_ONCE, place):
            found += some
            place = some[-1].position
    return found


def lineup_of(
    root: Path,
    reader: LedgerReader,
    moment: dt.datetime | None = None,
    purpose: str = CLIENTS,
    before: int | None = None,
) -> Lineup:
    """Champion, challengers and shadows at a moment, or as of a position of the ledger.

    Parameters
    ----------
    root : the lake, whose bundles tell whom a release without a role is for
    """
    entries = placements(reader, before)
    plain = {
        str(e.body["bundle"]) for e in entries if "role" not in e.body and e.body.get("bundle")
    }
    purposes = {sha256: _purpose(root, sha256) for sha256 in sorted(plain)}
    return lineup_at(entries, moment, purpose, purposes)


def _purpose(root: Path, sha256: str) -> str | None:
    """Whom a bundle of the lake decides on; None where the lake does not hold it."""
    try:
        folder = kept_bundle(root, sha256)
        return purpose_of(str(Bundle.read(folder).features["feature_set"]))
    except InputError:
        return None


def keep_bundle(root: Path, bundle: Bundle) -> str:
    """Copy a bundle into the lake under its hash, unless it is there; its place in the lake."""
    place = f"{KEPT_FOLDER}/{bundle.sha256[:16]}"
    if not (root / place / "bundle.json").is_file():
        bundle.write(root / place)
    return place


def night_lineup(
    root: Path, where: Location, as_of: dt.date, moment: dt.datetime | None = None
) -> Lineup:
    """The line-up that a night of a session is decided under.

    That is the one on record when the night began: who is approved while it runs, or between a kill
    and going on, takes part in the next one.

    Parameters
    ----------
    moment : when its decisions take effect; models that come into force later are left out
    """
    if not exists(where):
        return Lineup(None)
    with LedgerReader(where) as reader:
        ended = {e.body["run_id"] for e in reader.latest("kind/run_finished", _AT_ONCE)}
        for entry in reader.latest("kind/run_started", _AT_ONCE):
            body = entry.body
            if body["as_of"] != as_of.isoformat() or body["run_id"] in ended:
                continue
            began = int(str(body.get("overrides_before", entry.position)))
            found = lineup_of(root, reader, moment, before=began)
            if found.champion is not None and found.champion.bundle_sha256 == body["bundle"]:
                return found
        return lineup_of(root, reader, moment)
