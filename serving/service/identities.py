"""The operations on direct identifiers: store, read, and erase by destroying the client's key.

Each leaves an entry that names the client number and the key's, never what is stored. Identifiers
lie in ``LAKE/identities.sqlite`` under keys that a key service wraps; see ``serving.identities``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio.to_thread
from starlette.responses import Response

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from serving.identities import (
    KEY_FILE,
    STORE_FILE,
    ErasedError,
    Erasure,
    Identities,
    LocalKeyService,
    RetentionError,
    UnknownIdentityError,
    check_erasure,
    keep_until,
)
from serving.ledger.envelope import freeze
from serving.service.edge import Call, Operation, answer
from serving.service.problems import ProblemError
from serving.service.requests import Reader, idempotency_key, is_number

if TYPE_CHECKING:
    from serving.service.app import Service

KEEPERS: Final = frozenset({"service", "admin"})
"""Who stores and reads identifiers: the system that onboards, and its administrator."""
ERASERS: Final = frozenset({"admin"})
STORED, ERASED, APPROVED = "identity_stored", "identity_erased", "erasure_approved"
LONGEST: Final = 200
LONGEST_REASON: Final = 1000
EVENTS_LOOKED_AT: Final = 200
FIELDS: Final = ("name", "document_type", "document_number", "address", "phone", "email")
T = TypeVar("T")


def operations(service: Service) -> list[Operation]:
    """The routes under ``/v1/clients/{client_id}``."""
    i = IdentityOperations(service)
    one = "/v1/clients/{client_id}"
    return [
        Operation("PUT", f"{one}/identity", "putIdentity", KEEPERS, i.put),
        Operation("GET", f"{one}/identity", "getIdentity", KEEPERS, i.get),
        Operation("POST", f"{one}/erasures", "eraseIdentity", ERASERS, i.erase),
    ]


def finish_erasures(service: Service) -> int:
    """Destroy the keys whose erasure is on record and was broken off; how many."""
    store = _store(service, create=False)
    if store is None:
        return 0
    try:
        return store.finish_erasures(service.reader)
    finally:
        store.close()


def _store(service: Service, create: bool = True) -> Identities | None:
    lake = service.settings.lake
    path = lake / STORE_FILE
    if not create and not path.exists():
        return None
    return Identities(path, LocalKeyService(lake / KEY_FILE))


def _client(call: Call) -> str:
    client = call.path("client_id")
    if not is_number(client):
        raise ProblemError("not_found", "no client has a number of this form")
    return client


class IdentityOperations:
    """Opens the store for each call: SQLite's handle stays with the thread that works."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def put(self, call: Call) -> Response:
        """Store or replace a client's identifiers."""
        client = _client(call)
        r = Reader(call.json())
        found = {name: r.text(name, required=name == "name") for name in FIELDS}
        for name, value in found.items():
            if value is not None and not 1 <= len(value) <= LONGEST:
                r.wrong(name, f"it must have 1 to {LONGEST} characters")
        r.close()
        r.finish()
        identity = {name: value for name, value in found.items() if value is not None}
        keyed = self._keyed(call, f"identity/{client}")
        known = await self._service.engine.repeated(keyed)
        if known is None:
            key_id = await self._with_store(lambda store: store.put(client, identity))
            body = {"client_id": client, "key_id": key_id, "by": call.caller.subject}
            entry = freeze(STORED, body, canonical_bytes(body))
            known, _ = await self._service.engine.record(
                [(entry, None)], call.caller.subject, keyed
            )
        return answer({"client_id": client, "key_id": known["key_id"]})

    async def get(self, call: Call) -> Response:
        """A client's identifiers, decrypted."""
        client = _client(call)
        identity = await self._with_store(lambda store: store.get(client))
        return answer({"client_id": client, "identity": identity})

    async def erase(self, call: Call) -> Response:
        """Destroy the client's key, unless retention runs and nobody has overridden it.

        The entry comes first; should the service end between the two, the key is destroyed at its
        next start.
        """
        client = _client(call)
        r = Reader(call.json())
        why = r.text("reason")
        if why is not None and not 1 <= len(why) <= LONGEST_REASON:
            r.wrong("reason", f"it must have 1 to {LONGEST_REASON} characters")
        r.close()
        r.finish()
        assert why is not None
        keyed = self._keyed(call, f"erase/{client}")
        known = await self._service.engine.repeated(keyed)
        if known is None:
            today = self._service.settings.now().date()
            events = await self._service.look_up(f"client_id/{client}", EVENTS_LOOKED_AT)
            until = keep_until(await self._last_event(client, events, today))
            agreed = {
                name
                for e in events
                if e.kind == APPROVED
                for name in e.body["approvals"]
                if isinstance(name, str)
            }
            wish = Erasure(client, call.caller.subject, why, until, tuple(sorted(agreed)))
            key_id = await self._with_store(lambda store: store.key_of(client))
            if any(e.kind == ERASED and e.body["key_id"] == key_id for e in events):
                raise ProblemError("state_conflict", "this identity was erased already")
            try:
                check_erasure(wish, today)
            except RetentionError as error:
                raise ProblemError(
                    "state_conflict", f"{error}; make a proposal of kind erasure"
                ) from None
            body = wish.entry(key_id)
            entry = freeze(ERASED, body, canonical_bytes(body))
            known, _ = await self._service.engine.record(
                [(entry, f"erasure/{key_id}")], call.caller.subject, keyed
            )
        key = str(known["key_id"])
        await self._with_store(lambda store: store.destroy(key))
        shown = {"client_id": client, "key_id": key, "keep_until": known["keep_until"]}
        return answer({**shown, "overridden_by": known["overridden_by"]}, 201)

    # --- shared ---------------------------------------------------------------------------------

    def _keyed(self, call: Call, operation: str) -> Any:
        key = idempotency_key(call.request.headers.get("idempotency-key"))
        return self._service.engine.keyed(call.caller.subject, operation, key, call.body)

    async def _last_event(self, client: str, events: list[Any], today: dt.date) -> dt.date:
        """The day of the last entry about a client; a client of the night has one today."""
        cases = self._service.engine.world.cases
        if await anyio.to_thread.run_sync(cases.read, client) is not None:
            return today
        days = [
            dt.datetime.fromisoformat(str(e.recorded_at)).date()
            for e in events
            if e.kind != APPROVED
        ]
        return max(days, default=today)

    async def _with_store(self, act: Callable[[Identities], T]) -> T:
        def work() -> T:
            store = _store(self._service)
            assert store is not None
            try:
                return act(store)
            finally:
                store.close()

        try:
            return await anyio.to_thread.run_sync(partial(work))
        except UnknownIdentityError:
            raise ProblemError("not_found", "there is no identity of this client") from None
        except ErasedError:
            raise ProblemError(
                "state_conflict", "this identity was erased; a new relation gets a new number"
            ) from None
        except InputError as error:
            raise ProblemError("internal", "the identity store refused; see the log") from error
