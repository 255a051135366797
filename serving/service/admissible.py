"""Whether what a proposal would bring into force can come into force: checked before it is read by
others, and again before the last approval."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from models.bundle import Bundle, BundleUnknownError, kept_bundle
from models.governance import QUORUM
from models.policy.commands import differences
from models.policy.kept import PackRefusedError, direction, linted
from models.policy.pack import Pack, changes
from serving.service.problems import ProblemError
from serving.service.world import World

MOST_FINDINGS: Final = 20


def require_admissible(
    root: Path, world: World, now: dt.datetime, kind: str, stated: str, content: Mapping[str, Any]
) -> None:
    """Refuse a policy or a model that could not come into force as it is kept here.

    Parameters
    ----------
    stated : the proposal's direction; fewer people than the difference needs never suffice

    Raises
    ------
    ProblemError
        ``not_found`` for what is not kept here, ``pack_refused`` for a pack that the linter finds
        something in, ``bundle_refused`` for a bundle whose bytes are not those of its hash or whose
        review date is past, ``body_invalid`` for a direction milder than the difference.
    """
    if kind == "policy":
        _pack(root, world, stated, content)
    elif kind == "model":
        _model(root, now, content)


def _pack(root: Path, world: World, stated: str, content: Mapping[str, Any]) -> None:
    name, sha256 = str(content["pack"]), str(content["sha256"])
    if name != world.pack.name:
        raise ProblemError(
            "pack_refused",
            f"the night in force is decided under pack {world.pack.name!r}, not {name!r}; propose"
            " a pack of that name",
            pointer="/content/pack",
        )
    try:
        pack = linted(root, name, sha256)
        pack.on(world.policy.effective_on)
    except PackRefusedError as error:
        found = [
            {"pointer": "/content/sha256", "detail": f"{f.kind}: {f.parameter}: {f.detail}"}
            for f in error.findings[:MOST_FINDINGS]
        ]
        raise ProblemError("pack_refused", str(error), errors=found) from None
    except InputError as error:
        gone = "nor is kept" in str(error)
        raise ProblemError(
            "not_found" if gone else "pack_refused", told(root, error), pointer="/content/sha256"
        ) from None
    least = least_direction(world.pack, pack, world.policy.effective_on)
    if QUORUM[stated] < QUORUM[least]:
        raise ProblemError(
            "body_invalid",
            f"against the pack in force this one {least if least != 'neutral' else 'is neutral'};"
            f" say so: {QUORUM[least]} people must agree",
            pointer="/direction",
        )


def least_direction(present: Pack, proposed: Pack, day: dt.date) -> str:
    """Which way the change goes at worst, from a day on: the loosest moment counts."""
    first = dt.datetime.combine(day, dt.time())
    last = min(present.last_date, proposed.last_date)
    moments = {first} | {m for p in (present, proposed) for m in changes(p) if m >= first}
    rows = [
        row
        for moment in sorted(moments)
        if moment.date() <= last
        for row in differences(present, moment, proposed, moment)
    ]
    return direction(rows)


def _model(root: Path, now: dt.datetime, content: Mapping[str, Any]) -> None:
    sha256, review_on = str(content["bundle_sha256"]), dt.date.fromisoformat(content["review_on"])
    try:
        bundle = Bundle.read(kept_bundle(root, sha256))
        bundle.check_monotone()
    except BundleUnknownError as error:
        raise ProblemError("not_found", str(error), pointer="/content/bundle_sha256") from None
    except InputError as error:
        raise ProblemError(
            "bundle_refused", told(root, error), pointer="/content/bundle_sha256"
        ) from None
    if review_on < now.date():
        raise ProblemError(
            "bundle_refused",
            f"its review date {review_on} is past: nothing would be decided by it; review it first",
            pointer="/content/review_on",
        )


def told(root: Path, error: Exception) -> str:
    """An error's text without where the lake lies."""
    return str(error).replace(f"{root}/", "")
