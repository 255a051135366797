"""Publish and roll back: judge, prepare everything, record, then bring into force.

The ledger's entry is what counts. Files and tables are prepared before it and switched to after it;
whoever was killed in between is caught up by the next that looks (``catch_up``).
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from models.gate import Verdict, judge, load_bounds
from models.governance import PROPOSAL_KIND, Proposal
from serving.ledger import Ledger, LedgerReader, Location, is_url
from serving.nightly.gate.study import Study, study
from serving.nightly.monitors import monitor_run
from serving.nightly.publishing import tables
from serving.nightly.publishing.history import (
    PUBLISHED_KIND,
    History,
    Run,
    find_run,
    history,
)
from serving.publish import ONLINE_FOLDER, current_run, record_drift, set_current, write_night

JUDGED_KIND: Final = "gate_judged"
AUTHOR: Final = "gearline publish"
"""Who proposes a held night: the gate itself, so that no person is both author and approver."""
PEOPLE: Final = 2
"""People who must approve a held night."""
KEPT_NIGHTS: Final = 3
"""Nights before the one in force whose rows stay in the tables, for a quick rollback."""
GATE_FILE: Final = "gate.json"


@dataclass(frozen=True)
class Publication:
    """What came of it.

    ``state`` is ``published``, ``unchanged`` (it is in force already), ``held``, ``blocked`` or
    ``judged`` (a dry run); ``verdict`` is None where nothing had to be judged.
    """

    run: Run
    state: str
    replaces: str | None
    verdict: Verdict | None = None
    verdict_sha256: str | None = None
    proposal_id: str | None = None
    study: Study | None = None


def check_sealed(root: Path, reader: LedgerReader, run: Run) -> None:
    """Refuse a run whose segments are not all the sealed ones, byte for byte.

    Raises
    ------
    InputError
        Naming the segment that is missing, changed or was never sealed.
    """
    sealed = {
        str(e.body["file"]): str(e.body["file_sha256"])
        for e in reader.latest(f"run_id/{run.run_id}", 10_000)
        if e.kind == "segment"
    }
    for name in run.finished["segments"]:
        path = root / name
        if name not in sealed or not path.is_file():
            raise InputError(f"segment {name} is not sealed or not there; verify the ledger")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sealed[name]:
            raise InputError(
                f"segment {name} is no longer the sealed one; run `gearline ledger verify` and"
                " restore it from a backup"
            )


def judge_run(
    root: Path, reader: LedgerReader, run: Run, published: History, bounds: Path | None = None
) -> tuple[Study, Verdict]:
    """The figures of a run and the gate's verdict on it against what is published."""
    found = study(root, reader, run, published)
    day = found.now.policy.effective_on
    return found, judge(found.measured, load_bounds(day, bounds).with_policy(found.now.policy))


def verdict_document(run: Run, found: Study, verdict: Verdict) -> dict[str, Any]:
    """The verdict as it lies beside the run and as a proposal's approval is bound to it."""
    return {
        "run_id": run.run_id,
        "run_sha256": run.sha256,
        "as_of": str(run.finished["as_of"]),
        "against": None if found.before is None else found.before.run_id,
        **verdict.to_json(),
    }


def _approval(reader: LedgerReader, run: Run, verdict_sha256: str) -> str | None:
    """The proposal by which two people agreed to this run under this verdict."""
    for entry in reader.latest(f"run_id/{run.run_id}", 10_000):
        b = entry.body
        if (
            entry.kind == "publication_approved"
            and b.get("run_sha256") == run.sha256
            and b.get("verdict_sha256") == verdict_sha256
            and len(set(b.get("approvals", []))) >= PEOPLE  # type: ignore[call-overload]
        ):
            return str(b["proposal_id"])
    return None


def _propose(where: Location, run: Run, verdict: Verdict, verdict_sha256: str) -> str:
    """Open the proposal of a held night, once; returns its number."""
    number = sha256_hex(canonical_bytes({"run": run.sha256, "verdict": verdict_sha256}))[:32]
    proposal = Proposal(
        number,
        "publication",
        "neutral",
        {"run_id": run.run_id, "run_sha256": run.sha256, "verdict_sha256": verdict_sha256},
        verdict.why()[:1000],
        AUTHOR,
    )
    body = {**proposal.to_json(), "act": "created", "actor": AUTHOR, "because": None}
    with Ledger.open(where) as ledger:
        ledger.append(
            [{"kind": PROPOSAL_KIND, "body": body}], idempotency_keys=[f"proposal/{number}/1"]
        )
    return number


def _record(where: Location, published: History, body: Mapping[str, Any]) -> None:
    """The entry that counts; of two who publish at once the second is refused."""
    place = f"publication-after/{published.position}"
    with Ledger.open(where) as ledger:
        try:
            ledger.append([{"kind": PUBLISHED_KIND, "body": dict(body)}], idempotency_keys=[place])
        except InputError as error:
            if place not in str(error):
                raise
            raise InputError(
                "another night was published meanwhile; run the same command again, it is judged"
                " against that one"
            ) from None


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One publisher at a time on this lake; a killed one lets go of the lock."""
    folder = root / ONLINE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def catch_up(root: Path, where: Location) -> str | None:
    """Bring into force what the ledger says is published; returns the run, or None.

    Anyone may call it at any time: it is what ends a publication that was broken off.
    """
    with _alone(root):
        return _catch_up(root, where)


def _catch_up(root: Path, where: Location) -> str | None:
    with LedgerReader(where) as reader:
        now = history(reader)
        if now.current is None:
            return None
        run = find_run(reader, now.current)
    if current_run(root) != run.run_id:
        write_night(root, dict(run.started), dict(run.finished))
        record_drift(root, where, dict(run.started), dict(run.finished))
    if is_url(where) and tables.in_force(where) != run.run_id:
        tables.stage(root, where, run)
        tables.switch(where, run.run_id, now.position, now.stack[-1 - KEPT_NIGHTS :])
    if current_run(root) != run.run_id:
        set_current(root, dict(run.started), dict(run.finished))
    return run.run_id


def publish_run(
    root: Path,
    where: Location,
    run_id: str | None = None,
    *,
    actor: str = AUTHOR,
    bounds: Path | None = None,
    dry_run: bool = False,
) -> Publication:
    """Judge a finished run, the last one unless named, and publish it if the gate lets it.

    A held run opens a proposal, and is published by this same call once two people approved that
    very run under that very verdict. A blocked run is published by nobody.

    Raises
    ------
    InputError
        If the run is not whole, not the sealed one, or another was published meanwhile.
    """
    if dry_run:
        return _publish(root, where, run_id, actor, bounds, dry_run=True)
    with _alone(root):
        _catch_up(root, where)
        return _publish(root, where, run_id, actor, bounds, dry_run=False)


def _publish(
    root: Path,
    where: Location,
    run_id: str | None,
    actor: str,
    bounds: Path | None,
    *,
    dry_run: bool,
) -> Publication:
    with LedgerReader(where) as reader:
        run, published = find_run(reader, run_id), history(reader)
        if published.current == run.run_id:
            return Publication(run, "unchanged", published.before)
        check_sealed(root, reader, run)
        found, verdict = judge_run(root, reader, run, published, bounds)
        document = verdict_document(run, found, verdict)
        sha256 = sha256_hex(canonical_bytes(document))
        approved = _approval(reader, run, sha256)
    made = Publication(run, "judged", published.current, verdict, sha256, approved, found)
    if dry_run:
        return made
    write_atomically(
        root / "runs" / run.run_id / GATE_FILE,
        orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS),
    )
    judged = {
        "run_id": run.run_id,
        "run_sha256": run.sha256,
        "against": document["against"],
        "verdict": verdict.verdict,
        "verdict_sha256": sha256,
        "rules": [r.rule.name for r in verdict.against],
        "not_tested": list(verdict.untested),
    }
    with Ledger.open(where) as ledger:
        ledger.append([{"kind": JUDGED_KIND, "body": judged}], idempotency_keys=[f"gate/{sha256}"])
    # before the night can come into force: what is red closes from its first decision on
    monitor_run(root, where, run, found)
    if verdict.verdict == "block":
        return _with(made, "blocked", None)
    if verdict.verdict == "hold" and approved is None:
        return _with(made, "held", _propose(where, run, verdict, sha256))
    write_night(root, dict(run.started), dict(run.finished))
    record_drift(root, where, dict(run.started), dict(run.finished))
    tables.stage(root, where, run)
    _record(
        where,
        published,
        {
            "act": "publish",
            "run_id": run.run_id,
            "run_sha256": run.sha256,
            "replaces": published.current,
            "verdict": verdict.verdict,
            "verdict_sha256": sha256,
            "proposal_id": approved,
            "actor": actor,
            "reason": None,
        },
    )
    _catch_up(root, where)
    return _with(made, "published", approved)


def _with(made: Publication, state: str, proposal_id: str | None) -> Publication:
    return Publication(
        made.run,
        state,
        made.replaces,
        made.verdict,
        made.verdict_sha256,
        proposal_id,
        made.study,
    )


def rollback(root: Path, where: Location, *, actor: str, reason: str) -> Publication:
    """Return to the night that was published before the one in force.

    Raises
    ------
    InputError
        If nothing was published before, or its segments are no longer the sealed ones.
    """
    with _alone(root):
        _catch_up(root, where)
        return _rollback(root, where, actor, reason)


def _rollback(root: Path, where: Location, actor: str, reason: str) -> Publication:
    with LedgerReader(where) as reader:
        published = history(reader)
        if published.before is None:
            raise InputError(
                "no night was published before the one in force; there is nothing to return to"
            )
        run = find_run(reader, published.before)
        check_sealed(root, reader, run)
    write_night(root, dict(run.started), dict(run.finished))
    tables.stage(root, where, run)
    _record(
        where,
        published,
        {
            "act": "rollback",
            "run_id": run.run_id,
            "run_sha256": run.sha256,
            "replaces": published.current,
            "verdict": None,
            "verdict_sha256": None,
            "proposal_id": None,
            "actor": actor,
            "reason": reason,
        },
    )
    _catch_up(root, where)
    return Publication(run, "published", published.current)


def follow(root: Path, where: Location) -> str | None:
    """What a running service does on news: publish what was just approved, then catch up."""
    with LedgerReader(where) as reader:
        published = history(reader)
        newest = reader.latest("kind/publication_approved")
    if newest and newest[0].position > published.position:
        # a run that is not here, or no longer whole, is none to publish: `gearline publish` says so
        with suppress(InputError):
            publish_run(root, where, str(newest[0].body["run_id"]))
    return catch_up(root, where)


def publish_first(root: Path, where: Location) -> str:
    """The night in force; where none ever was, the last night on record, if the gate lets it.

    Raises
    ------
    InputError
        If there is no night, or the gate holds or blocks the first.
    """
    current = follow(root, where)
    if current is not None:
        return current
    made = publish_run(root, where)
    if made.state not in ("published", "unchanged"):
        assert made.verdict is not None
        raise InputError(
            f"no night is published, and the gate {made.state} the last one, {made.run.run_id}:"
            f" {made.verdict.why()}"
        )
    return made.run.run_id
