"""BentoML's scorer inside the service's own app, loaded when it is first asked for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from serving.service.app import Service

SCORE_PATH: Final = "/score"


class MountedScorer:
    """An ASGI app that becomes BentoML's on its first request: start-up need not wait for it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._app: ASGIApp | None = None
        self._loading = asyncio.Lock()
        self._living = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._loading:
            if self._app is None:
                self._app = await self._load()
        await self._app(scope, receive, send)

    async def _load(self) -> ASGIApp:
        def make() -> ASGIApp:
            from serving.service.scoring import scorer_app

            return scorer_app(self._service)

        app = await anyio.to_thread.run_sync(make)
        await self._living.enter_async_context(app.router.lifespan_context(app))  # type: ignore[attr-defined]
        return app

    async def stop(self) -> None:
        """Let BentoML finish, if it ever began."""
        await self._living.aclose()
