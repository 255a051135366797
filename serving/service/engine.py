"""From requests to recorded decisions: those that wait together are decided and synced together.

One worker thread takes whatever has gathered, decides on it in the columnar form, and commits it in
one group; meanwhile the next requests gather. A decision depends on no other of its group.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import anyio.to_thread
import orjson

from data_contracts.case import Override
from data_contracts.decision import body_sha256
from data_contracts.errors import InputError
from data_contracts.units import NULL
from models.bundle import Bundle
from models.conditions import DUPLICATE_HOURS, Fact, settle
from models.decide import decide_columns
from models.decide.body import bodies
from models.review import load_review_rules
from serving.ledger import (
    KeyedRequest,
    Ledger,
    LedgerReader,
    LedgerUnavailableError,
    RequestConflictError,
    StoredEntry,
    Submission,
)
from serving.ledger.envelope import Request as Frozen
from serving.ledger.envelope import freeze
from serving.ledger.group import Act, Rows
from serving.overrides import binding
from serving.review.case import QueueEmptyError, ReviewRefusedError, ReviewStateError
from serving.review.opening import entry_case, open_with
from serving.service.answers import DECISION_KIND
from serving.service.problems import ProblemError, of_review
from serving.service.requests import Ask
from serving.service.settings import IDEMPOTENCY_HOURS
from serving.service.world import Prepared, World

LARGEST_GROUP: Final = 64
RETRY_AFTER_S: Final = 2


@dataclass
class Job:
    """A piece of work for the worker: an ask to decide on, or entries that are ready."""

    ask: Ask | None
    entries: list[tuple[Frozen, str | None]]
    keyed: KeyedRequest | None
    stored: bool
    caller: str
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any] = field(repr=False)
    act: Act | Rows | None = None
    override: Override | None = None
    before: Prepared | None = None
    body: dict[str, Any] | None = None
    result: Any = None
    error: BaseException | None = None


class Engine:
    """The worker behind every operation that decides or records."""

    def __init__(
        self,
        ledger: Ledger,
        reader: LedgerReader,
        world: World,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._world = world
        self._ledger, self._reader, self._now = ledger, reader, now
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._in_flight: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="decisions", daemon=True)
        self._thread.start()

    @property
    def world(self) -> World:
        """The world in force now."""
        return self._world.at(self._now())

    @world.setter
    def world(self, world: World) -> None:
        self._world = world

    def close(self) -> None:
        """Finish what has been asked for, then stop."""
        self._jobs.put(None)
        self._thread.join()

    def keyed(self, caller: str, operation: str, key: str, body: bytes) -> KeyedRequest:
        """The record of a caller's request; one key may mean other things in other operations."""
        name = "\x1f".join((caller, operation, key))
        return KeyedRequest(
            hashlib.sha256(name.encode()).hexdigest(),
            hashlib.sha256(body).digest(),
            dt.datetime.now(dt.UTC) + dt.timedelta(hours=IDEMPOTENCY_HOURS),
        )

    async def decide(
        self, ask: Ask, caller: str, keyed: KeyedRequest | None, *, stored: bool
    ) -> tuple[dict[str, Any], bool]:
        """The body of the recorded (or, of a simulation, computed) entry; and whether repeated."""
        return await self._submit(ask, [], caller, keyed, stored)

    async def record(
        self,
        entries: list[tuple[Frozen, str | None]],
        caller: str,
        keyed: KeyedRequest | None,
        act: Act | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """Record entries under a request; the body of the first, and whether it is a repeat.

        ``act`` runs in the transaction that records them, and may refuse.
        """
        return await self._submit(None, entries, caller, keyed, True, act)

    async def try_override(
        self, ask: Ask, override: Override, caller: str, before: Prepared | None = None
    ) -> dict[str, Any]:
        """The entry that a decision under an override would leave, on the data as they are now.

        ``before`` holds the inputs of an applicant, whom no night knows. Nothing is recorded.
        """
        entry, _ = await self._submit(
            ask, [], caller, None, False, override=override, before=before
        )
        return entry

    async def repeated(self, keyed: KeyedRequest) -> dict[str, Any] | None:
        """The body that this request left when it was first made, or None."""
        look = partial(self._reader.request, keyed)
        try:
            entry = await anyio.to_thread.run_sync(look)
        except (RequestConflictError, LedgerUnavailableError) as error:
            raise as_problem(error) from None
        return None if entry is None else dict(entry.body)

    async def _submit(
        self,
        ask: Ask | None,
        entries: list[tuple[Frozen, str | None]],
        caller: str,
        keyed: KeyedRequest | None,
        stored: bool,
        act: Act | None = None,
        override: Override | None = None,
        before: Prepared | None = None,
    ) -> tuple[dict[str, Any], bool]:
        if keyed is not None:
            if keyed.key in self._in_flight:
                raise ProblemError(
                    "request_in_flight",
                    "a request with this Idempotency-Key is being worked on; ask again in a moment",
                    headers={"retry-after": "1"},
                )
            self._in_flight.add(keyed.key)
        loop = asyncio.get_running_loop()
        job = Job(ask, entries, keyed, stored, caller, loop, loop.create_future())
        job.act, job.override, job.before = act, override, before
        self._jobs.put(job)
        try:
            # shielded: a caller who hangs up does not undo what is being recorded
            found: tuple[dict[str, Any], bool] = await asyncio.shield(job.done)
            return found
        finally:
            if keyed is not None and job.done.done():
                self._in_flight.discard(keyed.key)
            elif keyed is not None:
                job.done.add_done_callback(lambda _: self._in_flight.discard(keyed.key))

    # --- the worker's side ----------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            group = [job]
            stop = False
            while len(group) < LARGEST_GROUP:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stop = True
                    break
                group.append(more)
            self._do(group)
            if stop:
                return

    def _do(self, group: list[Job]) -> None:
        try:
            self._do_group(group)
        except BaseException as error:  # whatever it is, the callers must hear of it
            for job in group:
                job.error = job.error or error
        by_loop: dict[int, tuple[asyncio.AbstractEventLoop, list[Job]]] = {}
        for job in group:
            by_loop.setdefault(id(job.loop), (job.loop, []))[1].append(job)
        for loop, jobs in by_loop.values():
            loop.call_soon_threadsafe(_finish, jobs)

    def _do_group(self, group: list[Job]) -> None:
        now = self._now()
        world = self._world.at(now)
        asked = [job for job in group if job.ask is not None]
        on_record = self._on_record(asked)
        prepared: list[tuple[Job, Prepared]] = []
        for job in asked:
            assert job.ask is not None
            try:
                found = job.before or world.prepare(job.ask, _key_of(job), now)
            except InputError as error:
                job.error = ProblemError("body_invalid", str(error))
                continue
            if found is None:
                job.error = ProblemError(
                    "not_found",
                    f"the night of {world.market.session} knows no client with this number; send"
                    " 'applicant' for somebody new",
                )
                continue
            if job.override is not None:
                found = replace(found, case=replace(found.case, override=job.override))
            else:
                found = _with_record(found, now, job.stored, on_record)
            prepared.append((job, found))
        for of_applicants in (False, True):
            part = [(j, p) for j, p in prepared if p.applicant is of_applicants]
            if part:
                self._decide(world, world.bundle_for(part[0][1]), part)
        submissions = []
        for job in group:
            if job.error is None and job.stored and job.entries:
                submissions.append((job, Submission(job.entries, job.keyed, job.act)))
        if submissions:
            self._ledger.commit_group([s for _, s in submissions])
        for job, submission in submissions:
            if submission.error is not None:
                job.error = self._ledger.explained(submission.error)
                continue
            stored = submission.entries[0]
            place, body = submission.positions[0], job.body
            if body is None or submission.repeated:
                body = orjson.loads(stored)["body"]
            job.result = ({**body, "entry": place_of(place, stored)}, submission.repeated)

    def _on_record(self, asked: list[Job]) -> dict[str, StoredEntry]:
        """What the ledger knows of the clients of a group, by label, in one look."""
        labels = {f"override/{j.ask.client_id}" for j in asked if j.ask and j.override is None}
        labels |= {
            f"application/{j.ask.client_id}"
            for j in asked
            if j.ask and j.stored and j.ask.requested_debt_amt is not None
        }
        return self._reader.newest(sorted(labels))

    def _decide(self, world: World, bundle: Bundle, part: list[tuple[Job, Prepared]]) -> None:
        prepared = [p for _, p in part]
        try:
            made = decide_columns(
                [p.case for p in prepared],
                world.frame(bundle, prepared),
                bundle,
                world.policy,
                world.market,
            )
            found = list(bodies(made))
        except InputError as error:
            if len(part) == 1:
                part[0][0].error = ProblemError("body_invalid", str(error))
                return
            for one in part:  # find the one that cannot be decided; the others can
                self._decide(world, bundle, [one])
            return
        now = self._now().isoformat()
        documents = made.columns.jsons
        for (job, p), body, document in zip(part, found, documents, strict=True):
            entry = {
                "decision_id": body["decision_id"],
                "client_id": body["client_id"],
                "decision": body,
                "decision_sha256": body_sha256(body).hex(),
                "case": document,
                "features": [None if v == NULL else v for v in p.row.tolist()],
                "facts": [fact.to_json() for fact in p.facts],
                "published_amt": p.published_amt,
                "published_decision": p.published_decision,
                "settled": settle(body, p.facts, p.published_amt),
                "asked": p.case.request.kind,
                "applicant": p.applicant,
                "night": world.run_id,
                "decided_at": now,
                "caller": job.caller,
            }
            if job.stored:
                # integers and strings by construction, as ``body_sha256`` relies on too
                frozen = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
                job.entries = [(freeze(DECISION_KIND, entry, frozen), None)]
                job.body = entry
                moment = self._now()
                # what only asks again how the night decided is covered by the night's own cases
                if entry["settled"]["outcome"] == "refer" or entry["asked"] == "application":
                    case = entry_case(entry, bundle, moment, load_review_rules(moment.date()))
                    job.act = None if case is None else open_with(case, moment)
            else:
                job.result = (entry, False)


def _with_record(
    p: Prepared, now: dt.datetime, stored: bool, on_record: dict[str, StoredEntry]
) -> Prepared:
    """With what the ledger knows of the client: an earlier application, an approved override."""
    facts, case = p.facts, p.case
    override = on_record.get(f"override/{case.client_id}")
    if override is not None:
        case = replace(case, override=binding(override, now.date()))
    earlier = on_record.get(f"application/{case.client_id}")
    if stored and case.request.requested_debt_amt is not None and earlier is not None:
        at = dt.datetime.fromisoformat(str(earlier.body["decided_at"]))
        if now - at < dt.timedelta(hours=DUPLICATE_HOURS):
            facts = (*facts, Fact("duplicate_application", {"earlier": at.date().isoformat()}))
    return p if facts is p.facts and case is p.case else replace(p, facts=facts, case=case)


def _key_of(job: Job) -> str:
    """What names the decision: of an override its proposal, else a number of its own."""
    return secrets.token_hex(16) if job.override is None else f"override/{job.override.proposal_id}"


def place_of(position: int, entry: bytes) -> dict[str, Any]:
    """Where and when an entry was recorded: the end of its bytes, whose keys are in order."""
    tail = orjson.loads(b"{" + entry[entry.rindex(b'"entry_id":') :])
    return {
        "position": position,
        "entry_id": tail["entry_id"],
        "recorded_at": tail["recorded_at"],
    }


def _finish(jobs: list[Job]) -> None:
    """Give every waiting request its outcome; runs on the event loop."""
    for job in jobs:
        if job.done.cancelled():
            continue
        if job.error is None:
            job.done.set_result(job.result)
        else:
            job.done.set_exception(as_problem(job.error))


def as_problem(error: BaseException) -> BaseException:
    """An error of the recording side as the problem that its caller is told."""
    if isinstance(error, RequestConflictError):
        return ProblemError(
            "idempotency_key_reused",
            "this Idempotency-Key was used with another body; use a new key for a new request",
        )
    if isinstance(error, QueueEmptyError | ReviewRefusedError | ReviewStateError):
        return of_review(error)
    if isinstance(error, LedgerUnavailableError):
        return ProblemError(
            "ledger_unavailable",
            "nothing was recorded, or it is not known whether it was; send the same request with"
            " the same Idempotency-Key again",
            headers={"retry-after": str(RETRY_AFTER_S)},
        )
    return error
