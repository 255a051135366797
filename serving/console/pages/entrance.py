"""Signing in and out, the start page, and the files that pages load."""

from __future__ import annotations

import time
from importlib import resources
from typing import Final

import anyio.to_thread
from starlette.responses import RedirectResponse, Response

from serving.console.access import STAFF, screens_of
from serving.console.frame import SIGN_IN, Frame, Page, Visit, safe_next
from serving.service.problems import ProblemError
from serving.service.tokens import Caller, mint

ASSETS: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx-2.0.11.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
PEOPLE: Final = ("reviewer", "approver", "risk", "validator", "auditor", "admin")
DEMO_HOURS: Final = 8.0
LONGEST_NAME: Final = 40


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    e = Entrance(frame)
    return [
        Page("GET", "/console/", STAFF, e.home),
        Page("GET", SIGN_IN, None, e.ask),
        Page("POST", SIGN_IN, None, e.sign_in),
        Page("POST", "/console/sign-out", STAFF, e.sign_out),
        Page("GET", "/console/assets/{name}", None, e.asset),
    ]


class Entrance:
    """The way in and out."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def home(self, visit: Visit) -> Response:
        """On to the first screen of the role."""
        return visit.go(screens_of(visit.session.roles)[0].path)

    async def ask(self, visit: Visit) -> Response:
        """The form; where nobody is signed in it brings a visitor's session for its own token."""
        if visit.session.signed_in:
            return visit.go("/console/")
        return self._form(visit, None, 200)

    def _form(self, visit: Visit, wrong: str | None, status: int) -> Response:
        visit.session = self._frame.sealer.begin(None, time.time())
        settings = self._frame.service.settings
        response = visit.page(
            "sign_in.html.j2",
            status=status,
            wrong=wrong,
            people=PEOPLE if settings.open_sign_in else (),
            after=safe_next(visit.query("next") or visit.form.get("next", "/console/")),
            name=visit.form.get("name", ""),
            role=visit.form.get("role", ""),
        )
        return self._frame.keep(visit, response, visit.session)

    async def sign_in(self, visit: Visit) -> Response:
        """With a bearer token; in a demo with a name and a role instead."""
        verifier = self._frame.service.edge.verifier
        assert verifier is not None  # the frame has seen to it
        token = visit.form.get("token", "").strip()
        if not token and self._frame.service.settings.open_sign_in:
            name, role = visit.form.get("name", "").strip(), visit.form.get("role", "")
            if not name or len(name) > LONGEST_NAME or not name.isprintable():
                return self._form(visit, visit.words("sign_in.name_wrong"), 422)
            if role not in PEOPLE:
                return self._form(visit, visit.words("sign_in.role_wrong"), 422)
            settings = self._frame.service.settings
            token = mint(settings.lake, role, name, DEMO_HOURS, time.time(), settings.audience)
        try:
            caller: Caller = await anyio.to_thread.run_sync(verifier.check, token)
        except ProblemError:
            return self._form(visit, visit.words("sign_in.token_wrong"), 401)
        if not caller.roles & STAFF:
            return self._form(visit, visit.words("sign_in.no_person"), 403)
        # a session of before never becomes one of after: whoever planted it gains nothing
        self._frame.sealer.end(visit.session)
        response = RedirectResponse(safe_next(visit.form.get("next", "/console/")), 303)
        return self._frame.keep(visit, response, self._frame.sealer.begin(caller, time.time()))

    async def sign_out(self, visit: Visit) -> Response:
        """Forget the session here and in the browser."""
        self._frame.sealer.end(visit.session)
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(
            self._frame.cookie(visit.request),
            path="/",
            secure=visit.request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def asset(self, visit: Visit) -> Response:
        """A style sheet, a script or the icon: from the package, never from elsewhere."""
        name = visit.path("name")
        if name not in ASSETS:
            raise ProblemError("not_found", "there is no such file")
        content = (resources.files("serving.console") / "assets" / name).read_bytes()
        return Response(
            content, headers={"content-type": ASSETS[name], "cache-control": "no-cache"}
        )
