"""The ASGI app: its operations and its life."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import anyio.to_thread
import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from data_contracts.errors import InputError
from models.lifecycle import KINDS as ROLE_KINDS
from serving.console.app import console_routes
from serving.ledger import Ledger, LedgerReader, LedgerUnavailableError
from serving.nightly.publishing.flow import follow, publish_first
from serving.review import ReviewDesk, ReviewStore
from serving.service import identities, proposals, reviews
from serving.service.answers import DECISION_KIND, decision_answer, limits_answer
from serving.service.edge import (
    LOG,
    AsgiEndpoint,
    Call,
    Edge,
    Operation,
    answer,
    refusal,
    trace_of,
)
from serving.service.engine import RETRY_AFTER_S, Engine
from serving.service.in_force import models_in_force, policy_in_force
from serving.service.metrics import Metrics
from serving.service.mounted import SCORE_PATH, MountedScorer
from serving.service.overrides import Overrides
from serving.service.problems import ProblemError, of_status
from serving.service.requests import Ask, idempotency_key, read_ask
from serving.service.settings import Settings
from serving.service.shadow import ShadowDesk
from serving.service.tokens import ROLES, Verifier
from serving.service.world import load_world

REFRESH_SECONDS: Final = 10.0
"""How soon a worker notices a new night or release that another process recorded."""
READ: Final = frozenset(ROLES)
DECIDE: Final = frozenset({"service"})
STAFF: Final = frozenset({"reviewer", "approver", "risk", "validator", "auditor", "admin"})


class Service:
    """One worker's state: the ledger, the published night, the engine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.edge = Edge(settings.rate, self.metrics)
        self._engine: Engine | None = None
        self._ledger: Ledger | None = None
        self._reader: LedgerReader | None = None
        self._known: tuple[int, ...] = ()
        self._refreshing = threading.Lock()
        self._desk: ReviewDesk | None = None
        self.overrides = Overrides(self)
        self.reviews_api = reviews.Reviews(self)
        self.shadow = ShadowDesk(settings.lake, self.metrics)
        self.names: dict[str, dict[str, str]] = {"en": {}, "zh": {}}

    def start(self) -> None:
        """Open everything, publish the last night if it is not, and warm up."""
        settings = self.settings
        verifier = Verifier(settings)
        publish_first(settings.lake, settings.ledger)
        self._ledger = Ledger.open(settings.ledger)
        self._reader = LedgerReader(settings.ledger)
        identities.finish_erasures(self)
        self._desk = ReviewDesk(self._ledger, ReviewStore(settings.ledger))
        world = load_world(settings.lake, self._reader, settings.now())
        self._engine = Engine(self._ledger, self._reader, world, settings.now)
        self._known = self._in_force()
        self._learn_names()
        self.shadow.follow(self.reader)
        self.shadow.start()
        self._warm()
        self.metrics.good_until.set(world.features.good_until.timestamp())
        self.metrics.ready.set(1)
        self.edge.verifier = verifier

    async def refresh(self) -> None:
        """Publish and read again what is in force, if the ledger knows of something new."""
        await anyio.to_thread.run_sync(self._refresh)

    def _refresh(self) -> None:
        with self._refreshing:
            known = self._in_force()
            if known == self._known:
                return
            follow(self.settings.lake, self.settings.ledger)
            known = self._in_force()
            fresh = load_world(self.settings.lake, self.reader, self.settings.now())
            # a group that is being decided keeps the night it began with
            self.engine.world = fresh
            self._learn_names()
            self.shadow.follow(self.reader)
            self.metrics.good_until.set(fresh.features.good_until.timestamp())
            self._known = known

    def _in_force(self) -> tuple[int, ...]:
        """Positions of the last entries that change what is in force."""
        kinds = (
            "run_published", "policy_approved", "publication_approved", "night_monitored",
            *ROLE_KINDS,
        )  # fmt: skip
        last = (self.reader.latest(f"kind/{kind}") for kind in kinds)
        return tuple(found[0].position if found else -1 for found in last)

    async def watch(self) -> None:
        """Look for news of other processes: the nightly batch, another worker's approvals."""
        while True:
            await anyio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except (InputError, LedgerUnavailableError, OSError) as error:
                # what was in force stays so; staleness and readiness tell the rest
                LOG.error(json.dumps({"error": type(error).__name__, "where": "refresh"}))

    def _learn_names(self) -> None:
        world = self.engine.world
        for bundle in (world.bundle, world.application):
            for feature in bundle.features["features"] if bundle else ():
                for tongue in ("en", "zh"):
                    self.names[tongue][feature["name"]] = feature[tongue]

    def _warm(self) -> None:
        """Decide on a few clients, recording nothing: kernels compile before the first call."""
        world = self.engine.world
        asks = [Ask(c, world.policy.currency, None) for c in world.cases.clients(64)]
        for size in (1, 2, len(asks)):
            found = [world.prepare(a, "warm", self.settings.now()) for a in asks[:size]]
            prepared = [p for p in found if p is not None]
            if prepared:
                from models.decide import decide_columns

                frame = world.frame(world.bundle, prepared)
                cases = [p.case for p in prepared]
                decide_columns(cases, frame, world.bundle, world.policy, world.market)

    def stop(self) -> None:
        """Finish what was asked for, close everything."""
        self.edge.verifier = None
        self.metrics.ready.set(0)
        if self._engine is not None:
            self._engine.close()
            self.shadow.close()
            self._engine.world.close()
        store = None if self._desk is None else self._desk.store
        for part in (store, self._reader, self._ledger):
            if part is not None:
                part.close()

    @property
    def started(self) -> bool:
        """Whether ``start`` is done."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The engine, once started."""
        if self._engine is None:
            raise ProblemError("not_ready", "the service is starting", headers={"retry-after": "1"})
        return self._engine

    @property
    def reader(self) -> LedgerReader:
        """Look-ups in the ledger."""
        if self._reader is None:
            raise ProblemError("not_ready", "the service is starting", headers={"retry-after": "1"})
        return self._reader

    @property
    def reviews(self) -> ReviewDesk:
        """The review queue."""
        if self._desk is None:
            raise ProblemError("not_ready", "the service is starting", headers={"retry-after": "1"})
        return self._desk

    async def look_up(self, label: str, count: int = 1, before: int | None = None) -> list[Any]:
        """Entries under a label, newest first."""
        try:
            return await anyio.to_thread.run_sync(partial(self.reader.latest, label, count, before))
        except LedgerUnavailableError:
            raise ProblemError(
                "ledger_unavailable",
                "the ledger does not answer; try again",
                headers={"retry-after": str(RETRY_AFTER_S)},
            ) from None

    # --- decisions ------------------------------------------------------------------------------

    def shown(self, entry: dict[str, Any], call: Call) -> dict[str, Any]:
        """A decision's entry as its reader sees it."""
        document = decision_answer(entry, call.reader, call.language, self.names[call.language])
        return {**document, "entry": entry.get("entry")}

    def _ask(self, call: Call) -> Ask:
        return read_ask(call.json(), self.engine.world.policy.currency)

    async def create_decision(self, call: Call) -> Response:
        key = idempotency_key(call.request.headers.get("idempotency-key"))
        keyed = self.engine.keyed(call.caller.subject, "decision", key, call.body)
        entry, repeated = await self.engine.decide(
            self._ask(call), call.caller.subject, keyed, stored=True
        )
        if not repeated:
            self.metrics.decisions.labels(entry["settled"]["outcome"]).inc()
        headers = {
            "location": f"/v1/decisions/{entry['decision_id']}",
            "content-language": call.language,
        }
        made = answer(self.shown(entry, call), 201, headers)
        if not repeated:
            # once the answer is out; nothing of it is in the answer or in the decision's entry
            made.background = BackgroundTask(self.shadow.offer, entry, self.engine.world)
        return made

    async def create_simulation(self, call: Call) -> Response:
        ask = self._ask(call)
        await self.reviews_api.refuse_blind(call, ask.client_id)
        entry, _ = await self.engine.decide(ask, call.caller.subject, None, stored=False)
        document = {**self.shown(entry, call), "simulation": True}
        return answer(document, 200, {"content-language": call.language})

    async def get_decision(self, call: Call) -> Response:
        found = await self.look_up(f"decision_id/{call.path('decision_id')}")
        if not found or found[0].kind != DECISION_KIND:
            raise ProblemError("not_found", "no decision of this service has this number")
        [stored] = found
        await self.reviews_api.refuse_blind(call, str(stored.body["client_id"]))
        entry = {
            **stored.body,
            "entry": {
                "position": stored.position,
                "entry_id": stored.entry_id,
                "recorded_at": stored.recorded_at,
            },
        }
        return answer(self.shown(entry, call), 200, {"content-language": call.language})

    async def get_limits(self, call: Call) -> Response:
        """The client's last decision here, or what the published night decided."""
        client = call.path("client_id")
        await self.reviews_api.refuse_blind(call, client)
        world = self.engine.world
        for stored in await self.look_up(f"client_id/{client}", 20):
            if stored.kind == DECISION_KIND and stored.body["night"] == world.run_id:
                document = self.shown(dict(stored.body), call)
                return answer(limits_answer(document, "decision"))
        published = await anyio.to_thread.run_sync(world.cases.read, client)
        if published is None:
            raise ProblemError("not_found", "the published night knows no client with this number")
        ask = Ask(client, world.policy.currency, None)
        entry, _ = await self.engine.decide(ask, call.caller.subject, None, stored=False)
        shown = limits_answer(self.shown(entry, call), "night")
        return answer({**shown, "decision_id": published.decision_id})

    # --- what is in force -----------------------------------------------------------------------

    async def get_policy(self, call: Call) -> Response:
        document = policy_in_force(self.engine.world.policy, call.language)
        return answer(document, 200, {"content-language": call.language})

    async def get_models(self, call: Call) -> Response:
        releases = await self.look_up("kind/model_released", 100)
        return answer(models_in_force(self.engine.world, releases))

    # --- life and health ------------------------------------------------------------------------

    async def live(self, call: Call) -> Response:
        return answer({"status": "live"})

    async def ready(self, call: Call) -> Response:
        """Ready means: a night is published, and the ledger answers."""
        size = await anyio.to_thread.run_sync(self._size)
        return answer({"status": "ready", "night": self.engine.world.run_id, "entries": size})

    def _size(self) -> int:
        try:
            return self.reader.size()
        except (LedgerUnavailableError, InputError):
            raise ProblemError(
                "not_ready", "the ledger does not answer", headers={"retry-after": "2"}
            ) from None

    async def show_metrics(self, call: Call) -> Response:
        return Response(
            generate_latest(self.metrics.registry),
            headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"},
        )

    async def show_openapi(self, call: Call) -> Response:
        from serving.service.openapi import document

        return Response(
            orjson.dumps(document(self.operations(), self.engine.world.policy.currency)),
            media_type="application/json",
        )

    # --- routes ---------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """Every operation of the service."""

        op = Operation
        mine = [
            op("POST", "/v1/decisions", "createDecision", DECIDE, self.create_decision),
            op("GET", "/v1/decisions/{decision_id}", "getDecision", READ, self.get_decision),
            op("GET", "/v1/clients/{client_id}/limits", "getLimits", READ, self.get_limits),
            op("POST", "/v1/simulations", "createSimulation", READ, self.create_simulation),
            op("GET", "/v1/policy", "getPolicy", READ, self.get_policy),
            op("GET", "/v1/models", "getModels", READ, self.get_models),
            op("GET", "/v1/openapi.json", "getOpenapi", None, self.show_openapi),
            op("GET", "/livez", "live", None, self.live),
            op("GET", "/readyz", "ready", None, self.ready),
            op("GET", "/metrics", "metrics", None, self.show_metrics),
        ]
        parts = (proposals, identities, reviews)
        return mine + [operation for part in parts for operation in part.operations(self)]

    def routes(self) -> list[BaseRoute]:
        """The operations as routes, those of one path together."""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in self.operations():
            by_path.setdefault(operation.path, {})[operation.method] = operation
        return [
            Route(path, AsgiEndpoint(self.edge.endpoint(found))) for path, found in by_path.items()
        ]


def create_app(settings: Settings) -> Starlette:
    """The service as an ASGI app."""
    service = Service(settings)
    scorer = MountedScorer(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if not service.started:
            await anyio.to_thread.run_sync(service.start)
        watching = asyncio.create_task(service.watch())
        try:
            yield
        finally:
            watching.cancel()
            await scorer.stop()
            await anyio.to_thread.run_sync(service.stop)

    async def unknown(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return refusal(of_status(status), trace_of(request.headers.get("traceparent")))

    app = Starlette(
        routes=[
            *service.routes(),
            Route(SCORE_PATH, scorer, methods=["POST"]),
            *console_routes(service),
        ],
        lifespan=lifespan,
        exception_handlers={404: unknown, 405: unknown, 500: unknown},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app
