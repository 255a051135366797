"""What a challenger decided beside the champion: found in the ledger, its files checked."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.errors import InputError
from data_contracts.units import parse_day
from serving.commands.places import existing_ledger
from serving.ledger import leaf_hash, read_entries
from serving.ledger import root as merkle_root
from serving.nightly.beside import SEALED_KIND
from serving.nightly.segments import segment_digests


@dataclass(frozen=True)
class Recorded:
    """The nights on which one model decided beside one champion, oldest first.

    Attributes
    ----------
    role : the challenger's on the last of them
    champion, challenger : folders of both bundles
    nights : run, session, and both models' segment files, bucket by bucket
    """

    lake: Path
    role: str
    champion: Path
    challenger: Path
    nights: tuple[tuple[str, str, tuple[Path, ...], tuple[Path, ...]], ...]


def recorded_challenge(arguments: argparse.Namespace) -> Recorded:
    """The nights that were asked for; every file is checked against what the ledger sealed.

    Raises
    ------
    InputError
        If nothing was decided beside a champion, several models were and none is named, or a
        segment is not the one that was sealed.
    """
    lake: Path = arguments.lake
    runs: dict[str, dict[str, Any]] = {}
    finished: list[dict[str, Any]] = []
    sealed: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for entry in read_entries(existing_ledger(lake, arguments.ledger)):
        body: dict[str, Any] = dict(entry.body)
        if entry.kind == "run_started":
            runs[body["run_id"]] = body
        elif entry.kind == "run_finished":
            finished.append(body)
        elif entry.kind == "segment":
            sealed.setdefault((body["run_id"], ""), {})[int(body["bucket"])] = body
        elif entry.kind == SEALED_KIND:
            of = (body["run_id"], body["bundle"])
            sealed.setdefault(of, {})[int(body["bucket"])] = body
    nights = [(runs[f["run_id"]], r) for f in finished for r in runs[f["run_id"]].get("beside", [])]
    first, last = (
        None if text is None else parse_day(text, name)
        for text, name in ((arguments.first, "--from"), (arguments.last, "--to"))
    )
    nights = [(n, r) for n, r in nights if _within(n["as_of"], first, last)]
    if not nights:
        raise InputError(
            "no recorded night has a model beside its champion; promote one with `gearline model"
            " promote --as challenger`, or run `gearline reprice --challenger BUNDLE`"
        )
    named = _named(nights, arguments.challenger)
    mine = [(n, r) for n, r in nights if r["bundle"] == named]
    # a night that was decided twice counts as it was decided last
    champion = max(mine, key=lambda m: m[0]["as_of"])[0]["bundle"]
    by_day = {n["as_of"]: (n, r) for n, r in mine if n["bundle"] == champion}
    found = []
    for day in sorted(by_day):
        night, _ = by_day[day]
        ours, theirs = sealed[night["run_id"], ""], sealed.get((night["run_id"], named), {})
        if ours.keys() != theirs.keys():
            raise InputError(
                f"run {night['run_id']} has {len(theirs)} of {len(ours)} segments of the"
                " challenger; leave the night out with --from and --to"
            )
        files = [tuple(_checked(lake, part[b]) for b in sorted(part)) for part in (ours, theirs)]
        found.append((night["run_id"], day, files[0], files[1]))
    night, rival = by_day[max(by_day)]
    return Recorded(
        lake,
        str(rival["role"]),
        lake / night["bundle_path"],
        lake / rival["bundle_path"],
        tuple(found),
    )


def _within(day: str, first: dt.date | None, last: dt.date | None) -> bool:
    at = dt.date.fromisoformat(day)
    return (first is None or first <= at) and (last is None or at <= last)


def _named(nights: list[tuple[dict[str, Any], dict[str, Any]]], stated: str | None) -> str:
    """The hash of the model that is meant."""
    latest = max(n["as_of"] for n, _ in nights)
    known = sorted(
        {str(r["bundle"]) for n, r in nights if stated is not None or n["as_of"] == latest}
    )
    found = [b for b in known if stated is None or b.startswith(stated)]
    if len(found) != 1:
        names = ", ".join(b[:16] for b in known)
        raise InputError(
            f"{len(found)} models beside the champion fit {stated or 'the last night'}: there are"
            f" {names}; name one with --challenger"
        )
    return found[0]


def _checked(lake: Path, body: Mapping[str, Any]) -> Path:
    """A segment file that is as it was sealed."""
    path = lake / str(body["file"])
    if not path.is_file():
        raise InputError(f"segment {path} is missing; restore it from a backup")
    with path.open("rb") as stream:
        same = hashlib.file_digest(stream, "sha256").hexdigest() == body["file_sha256"]
    if same:
        leaves = [leaf_hash(d) for d in segment_digests(path)]
        same = merkle_root(leaves).hex() == body["decisions_root"]
    if not same:
        raise InputError(f"segment {path} is not the one that was sealed; restore it from a backup")
    return path
