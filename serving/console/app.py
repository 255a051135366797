"""The console's routes, for the service's own ASGI app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from serving.console.frame import HOME, Frame, Page
from serving.console.pages import (
    audit,
    case,
    client,
    entrance,
    figures,
    model,
    night,
    policy,
    proposals,
    queue,
    replay,
    simulator,
)
from serving.console.session import Sealer, console_key
from serving.service.edge import AsgiEndpoint

if TYPE_CHECKING:
    from serving.service.app import Service

MODULES = (
    entrance,
    queue,
    case,
    client,
    proposals,
    night,
    policy,
    model,
    simulator,
    replay,
    audit,
    figures,
)


def all_pages(frame: Frame) -> list[Page]:
    """Every page of the console."""
    return [page for module in MODULES for page in module.pages(frame)]


def console_routes(service: Service) -> list[BaseRoute]:
    """The pages as routes, those of one path together; what no page answers has an error page."""
    frame = Frame(service, Sealer(console_key(service.settings.lake)))
    by_path: dict[str, dict[str, Page]] = {}
    for page in all_pages(frame):
        by_path.setdefault(page.path, {})[page.method] = page
    routes: list[BaseRoute] = [
        Route(path, AsgiEndpoint(frame.endpoint(found))) for path, found in by_path.items()
    ]

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await RedirectResponse(HOME, 307)(scope, receive, send)

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await frame.unknown(request)(scope, receive, send)

    return [
        *routes,
        Route("/console", AsgiEndpoint(bare)),
        Route("/console/{rest:path}", AsgiEndpoint(unknown)),
    ]
