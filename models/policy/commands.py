"""``policy show``, ``policy diff`` and ``policy check``."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.units import format_decimal, parse_day
from models.policy.check import Finding, check_documents, unverified
from models.policy.document import documents_of_file, shipped_documents
from models.policy.pack import (
    LEVELS,
    PACK_NAMES,
    PLACES,
    QUANTUM,
    DatedValue,
    Pack,
    Parameter,
    build_pack,
    changes,
    load_pack,
)

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1
SUFFIXES: Final = (".yaml", ".yml")


def _documents(named: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if named.endswith(SUFFIXES):
        return documents_of_file(Path(named))
    load_pack(named)  # an unknown name is refused here
    return shipped_documents(named)


def _pack(named: str) -> Pack:
    return build_pack(*_documents(named)) if named.endswith(SUFFIXES) else load_pack(named)


def parse_moment(text: str, what: str) -> dt.datetime:
    """A moment from a date, which is its midnight, or from a date and time.

    >>> parse_moment("2015-11-23", "--as-of")
    datetime.datetime(2015, 11, 23, 0, 0)
    """
    if "T" not in text:
        return dt.datetime.combine(parse_day(text, what), dt.time())
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{what} is {text!r}; write a time like 2023-09-08T15:00:00") from None


def _written(p: Parameter, values: tuple[int, ...]) -> list[str]:
    return [format_decimal(v, PLACES[p.unit]) if p.unit in PLACES else str(v) for v in values]


def _row(p: Parameter, value: DatedValue) -> dict[str, Any]:
    return {
        "parameter": p.name,
        "level": p.level,
        "unit": p.unit,
        "values": list(value.values),
        "since": value.since.isoformat(),
        "reference": value.reference,
        "verified": value.verified,
        "applied": p.applied,
        "tighter": p.tighter,
        "open_contracts": value.open_contracts,
        "en": p.en,
        "zh": p.zh,
    }


def run_show(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``policy show``."""
    pack = _pack(arguments.pack)
    moment = parse_moment(arguments.as_of, "--as-of")
    policy = pack.at(moment)
    rows = [_row(pack.parameters[name], value) for name, value in policy.in_force.items()]
    rows.sort(key=lambda r: (LEVELS.index(r["level"]), r["parameter"]))
    title = f"{pack.title_en} ({pack.title_zh})"
    text = [f"{title}, in force at {moment.isoformat()}, sha256 {pack.sha256[:16]}"]
    for r in rows:
        mark = "" if r["verified"] else "  UNVERIFIED"
        numbers = " ".join(map(str, r["values"]))
        text.append(
            f"{r['level']:<9} {r['parameter']:<40} {numbers} x {QUANTUM[r['unit']]}"
            f"  since {r['since'].removesuffix('T00:00:00')}  {r['reference']}{mark}"
        )
    document = {
        "pack": pack.name,
        "effective_on": policy.effective_on.isoformat(),
        "sha256": pack.sha256,
        "parameters": rows,
    }
    return DONE, document, "\n".join(text)


def _side(text: str, what: str) -> tuple[Pack, dt.datetime]:
    named, _, moment = text.partition("@")
    pack = _pack(named)
    if not moment:
        return pack, dt.datetime.combine(pack.last_date, dt.time())
    return pack, parse_moment(moment, what)


def direction(p: Parameter, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """``tighter``, ``looser``, or ``changed`` where the rule has no direction or goes both ways."""
    if p.tighter is None or len(before) != len(after):
        return "changed"
    moved = {(b > a) - (b < a) for a, b in zip(before, after, strict=True)} - {0}
    if len(moved) != 1:
        return "changed"
    return "tighter" if (moved == {1}) == (p.tighter == "higher") else "looser"


def differences(one: Pack, then: dt.datetime, two: Pack, now: dt.datetime) -> list[dict[str, Any]]:
    """The rules whose values in force differ between two moments of two packs, by name."""
    was, becomes = one.at(then), two.at(now)
    rows: list[dict[str, Any]] = []
    for name in sorted(was.in_force.keys() | becomes.in_force.keys()):
        old, new = was.in_force.get(name), becomes.in_force.get(name)
        if old is not None and new is not None and old.values == new.values:
            continue
        p = (two if new is not None else one).parameters[name]
        if old is None:
            change = "added"
        elif new is None:
            change = "removed"
        else:
            change = direction(p, old.values, new.values)
        rows.append(
            {
                "parameter": name,
                "level": p.level,
                "unit": p.unit,
                "before": None if old is None else list(old.values),
                "after": None if new is None else list(new.values),
                "change": change,
                "reference": (new or one.parameters[name].history[-1]).reference,
            }
        )
    return rows


def run_diff(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``policy diff``."""
    (one, then), (two, now) = _side(arguments.before, "A"), _side(arguments.after, "B")
    rows = differences(one, then, two, now)
    document = {
        "before": {"pack": one.name, "moment": then.isoformat(), "sha256": one.sha256},
        "after": {"pack": two.name, "moment": now.isoformat(), "sha256": two.sha256},
        "changes": rows,
    }
    text = [f"{arguments.before} -> {arguments.after}: {len(rows)} rules differ"]
    for r in rows:
        p = (two if r["after"] is not None else one).parameters[r["parameter"]]
        sides = [
            "none" if r[k] is None else " ".join(_written(p, tuple(r[k])))
            for k in ("before", "after")
        ]
        text.append(f"{r['level']:<9} {r['parameter']:<40} {sides[0]} -> {sides[1]}  {r['change']}")
    return DONE, document, "\n".join(text)


def _finding(pack: str, finding: Finding) -> dict[str, str]:
    return {
        "pack": pack,
        "kind": finding.kind,
        "parameter": finding.parameter,
        "detail": finding.detail,
    }


def run_check(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``policy check``."""
    packs: list[dict[str, Any]] = []
    findings: list[dict[str, str]] = []
    text: list[str] = []
    for named in arguments.packs or PACK_NAMES:
        document, house = _documents(named)
        pack, found = check_documents(document, house)
        name = str(document.get("pack", named))
        findings += [_finding(name, f) for f in found]
        if pack is not None:
            open_texts = [
                {
                    "parameter": p.name,
                    "since": p.history[k].since.isoformat(),
                    "reference": p.history[k].reference,
                }
                for p, k in unverified(pack)
            ]
            packs.append(
                {
                    "pack": name,
                    "sha256": pack.sha256,
                    "first_date": pack.first_date.isoformat(),
                    "last_date": pack.last_date.isoformat(),
                    "parameters": len(pack.parameters),
                    "changes": [m.isoformat() for m in changes(pack)[1:]],
                    "unverified": open_texts,
                }
            )
            text.append(
                f"{name}: {len(pack.parameters)} rules, {pack.first_date} to {pack.last_date},"
                f" {len(found)} findings, {len(open_texts)} values of law not verified"
            )
            text += [f"  unverified: {r['parameter']}, {r['reference']}" for r in open_texts]
        else:
            text.append(f"{name}: cannot be read, {len(found)} findings")
        text += [f"  {f.kind}: {f.parameter}: {f.detail}" for f in found]
    return FOUND if findings else DONE, {"packs": packs, "findings": findings}, "\n".join(text)


def run_keep(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``policy keep``: what the linter finds something in is not kept, and nothing is written."""
    from models.policy.kept import keep  # it writes, with libraries that showing a pack needs not

    document, house = _documents(arguments.pack)
    pack, found = check_documents(document, house)
    if pack is None or found:
        first = found[0]
        raise InputError(
            f"{arguments.pack}: {len(found)} findings, so it is not kept: {first.kind}:"
            f" {first.parameter}: {first.detail}; `gearline policy check {arguments.pack}` lists"
            " them all"
        )
    if not arguments.lake.is_dir():
        raise InputError(f"there is no lake {arguments.lake}; name one with --lake DIR")
    sha256 = keep(arguments.lake, document, house)
    text = f"pack {pack.name} is kept as {sha256}; propose that hash for approval"
    return DONE, {"pack": pack.name, "sha256": sha256}, text
