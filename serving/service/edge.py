"""The edge of the service: from an ASGI request to an operation and back to bytes.

Everything that all operations share is here, once: who calls, how much, how large, which trace,
which language; the problem document; the metric; one log line without personal data.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio.to_thread
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.service.limits import RateLimit
from serving.service.metrics import Metrics
from serving.service.problems import PROBLEM_TYPE, ProblemError, of_status
from serving.service.requests import language, read_json
from serving.service.settings import LARGEST_BODY_BYTES
from serving.service.tokens import Caller, Verifier, bearer

LOG: Final = logging.getLogger("gearline.service")
_TRACE: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
Handler = Callable[["Call"], Awaitable[Response]]


@dataclass
class Call:
    """One request on its way: what an operation may look at."""

    request: Request
    caller: Caller
    language: str
    body: bytes

    @property
    def reader(self) -> str:
        """The audience whose reasons the caller reads."""
        return self.caller.reader

    def json(self) -> Any:
        """The body as JSON."""
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ProblemError("media_type", "send the body as application/json")
        return read_json(self.body)

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


def answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer, keys in order so that a repeat has the same bytes; never to be cached."""
    return Response(
        orjson.dumps(document, option=orjson.OPT_SORT_KEYS),
        status,
        {"cache-control": "no-store", **(headers or {})},
        "application/json",
    )


@dataclass(frozen=True)
class Operation:
    """A route: who may call it, and what it does."""

    method: str
    path: str
    name: str
    roles: frozenset[str] | None
    handler: Handler


class Edge:
    """Wraps operations; ``verifier`` is set once the service is up."""

    def __init__(self, rate: float, metrics: Metrics) -> None:
        self.verifier: Verifier | None = None
        self.metrics = metrics
        self._rate = RateLimit(rate)

    def endpoint(self, operations: dict[str, Operation]) -> Callable[..., Awaitable[None]]:
        """An ASGI app that answers one path; ``operations`` by method."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            began = time.perf_counter()
            request = Request(scope, receive)
            method = "GET" if request.method == "HEAD" else request.method
            operation = operations.get(method)
            name = operation.name if operation else "none"
            trace = trace_of(request.headers.get("traceparent"))
            try:
                if operation is None:
                    raise ProblemError(
                        "method_not_allowed",
                        f"{request.method} does not exist here",
                        headers={"allow": ", ".join(sorted(operations))},
                    )
                response = await self._call(operation, request)
            except Exception as error:
                response = refusal(error, trace)
            response.headers["traceparent"] = trace
            spent = time.perf_counter() - began
            self.metrics.requests.labels(name, str(response.status_code)).inc()
            self.metrics.seconds.labels(name).observe(spent)
            if LOG.isEnabledFor(logging.INFO):
                LOG.info(
                    json.dumps(
                        {
                            "operation": name,
                            "status": response.status_code,
                            "seconds": round(spent, 6),
                            "trace_id": trace[3:35],
                        }
                    )
                )
            await response(scope, receive, send)

        return serve

    async def _call(self, operation: Operation, request: Request) -> Response:
        if operation.roles is None:
            return await operation.handler(Call(request, Caller("", frozenset(), 0.0), "en", b""))
        caller = await self._caller(request)
        self._rate.take(caller.subject)
        caller.require(operation.roles)
        body = b"" if operation.method == "GET" else await read_body(request)
        tongue = language(request.headers.get("accept-language"))
        return await operation.handler(Call(request, caller, tongue, body))

    def limit(self, subject: str) -> None:
        """Count a request of somebody's; refuse those beyond the rate."""
        self._rate.take(subject)

    async def _caller(self, request: Request) -> Caller:
        verifier = self.verifier
        if verifier is None:
            raise ProblemError("not_ready", "the service is starting", headers={"retry-after": "1"})
        token = bearer(request.headers.get("authorization"))
        known = verifier.remembered(token)
        # an unknown token may need the issuer's keys, which are fetched outside the event loop
        if known is not None:
            return known
        return await anyio.to_thread.run_sync(verifier.check, token)


class AsgiEndpoint:
    """An ASGI app as an object: Starlette then leaves the methods to it."""

    def __init__(self, serve: Any) -> None:
        self._serve = serve

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._serve(scope, receive, send)


async def read_body(request: Request) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    too_large = ProblemError(
        "body_too_large", f"a body has at most {LARGEST_BODY_BYTES} bytes; send less"
    )
    stated = request.headers.get("content-length")
    if stated is not None and stated.isdigit() and int(stated) > LARGEST_BODY_BYTES:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def refusal(error: Exception, trace: str) -> Response:
    """The answer to whatever went wrong; what is not ours to tell stays in the log."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if isinstance(error, HTTPException):
        error = of_status(error.status_code)
    if not isinstance(error, ProblemError):
        # the kind and the place, not the message: it may hold what the caller sent
        LOG.error(
            json.dumps({"error": type(error).__name__, "trace_id": trace[3:35]}),
            exc_info=LOG.isEnabledFor(logging.DEBUG),
        )
        error = ProblemError("internal", f"the request failed here; its trace is {trace[3:35]}")
    headers = {"cache-control": "no-store", **error.headers}
    return Response(error.body(), error.status, headers, PROBLEM_TYPE)


def trace_of(header: str | None) -> str:
    """A W3C ``traceparent``: the caller's trace with a span of ours, or a new trace."""
    found = _TRACE.fullmatch(header or "")
    # names of spans, no secrets: they only have to differ
    trace, flags = (found[1], found[3]) if found else (f"{random.getrandbits(128):032x}", "00")
    return f"00-{trace}-{random.getrandbits(64) | 1:016x}-{flags}"
