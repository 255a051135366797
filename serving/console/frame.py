"""What every page shares: who asks, in which language, and the headers that keep the browser in.

A page is a function from a ``Visit`` to a response. Before it runs, the frame has checked session,
role, rate and, for everything but a read, that the form is the session's own.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from data_contracts.errors import InputError
from serving.console.access import screens_of
from serving.console.formats import Format
from serving.console.session import Sealer, Session
from serving.console.templating import ENVIRONMENT
from serving.console.texts import LANGUAGES, TAGS, Words
from serving.ledger import LedgerUnavailableError, RequestConflictError
from serving.service.edge import LOG, Call, read_body, trace_of
from serving.service.problems import ProblemError, of_review
from serving.service.requests import language as preferred_language

if TYPE_CHECKING:
    from serving.service.app import Service

HOME: Final = "/console/"
SIGN_IN: Final = "/console/sign-in"
THEMES: Final = ("auto", "light", "dark")
FORGERY_FIELD: Final = "csrf"
KEY_FIELD: Final = "key"
PREFERENCE_S: Final = 365 * 24 * 3600
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "cache-control": "no-store",
}
"""No inline script or style anywhere, nothing from another host, never in a frame."""
READS: Final = frozenset({"GET", "HEAD"})


@dataclass
class Visit:
    """One request to a page: what the page may look at, and how it answers."""

    request: Request
    session: Session
    language: str
    theme: str
    service: Service
    sealer: Sealer
    form: dict[str, str] = field(default_factory=dict)

    @cached_property
    def words(self) -> Words:
        """The catalogue in the visitor's language."""
        return Words(self.language)

    @cached_property
    def show(self) -> Format:
        """Numbers and names in the visitor's language."""
        return Format(self.words, self.service.engine.world.policy.currency)

    @property
    def reader(self) -> str:
        """The audience whose reasons the visitor reads."""
        return self.session.caller.reader

    @property
    def subject(self) -> str:
        """Who is signed in."""
        return self.session.subject

    def has(self, roles: frozenset[str]) -> bool:
        """Whether the visitor has one of the roles."""
        return bool(self.session.roles & roles)

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the address."""
        return self.request.query_params.get(name, default)

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A whole page, or the fragment of one, from a template."""
        names = [] if not self.session.signed_in else screens_of(self.session.roles)
        text = ENVIRONMENT.get_template(template).render(
            t=self.words,
            visit=self,
            screens=names,
            lang=TAGS[self.language],
            forgery=Markup('<input type="hidden" name="{}" value="{}">').format(
                FORGERY_FIELD, self.sealer.forgery_token(self.session)
            ),
            new_key=secrets.token_hex(16),
            **({"show": self.show} if self.session.signed_in else {}),
            **values,
        )
        return Response(text, status, media_type="text/html")

    def go(self, path: str) -> Response:
        """After a change: on to a page that can be loaded again."""
        return RedirectResponse(path, 303)

    def call(
        self,
        document: Any = None,
        *,
        path: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Call:
        """The visit as a call of an operation of the service, which checks it as any other.

        The form's own key is the Idempotency-Key: a form that is sent twice takes effect once.
        """
        stated = {
            "content-type": "application/json",
            "idempotency-key": self.form.get(KEY_FIELD, ""),
            **(headers or {}),
        }
        scope = {
            "type": "http",
            "method": self.request.method,
            "path": self.request.url.path,
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in stated.items()],
            "path_params": path or {},
        }
        body = b"" if document is None else json.dumps(document).encode()
        return Call(Request(scope), self.session.caller, self.language, body)


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class Page:
    """A route of the console; ``roles`` is None where nobody need be signed in."""

    method: str
    path: str
    roles: frozenset[str] | None
    handler: Handler


class Frame:
    """Wraps pages: session, language, forgery, headers, and what is shown when it goes wrong."""

    def __init__(self, service: Service, sealer: Sealer) -> None:
        self.service, self.sealer = service, sealer

    def endpoint(self, pages: dict[str, Page]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        """An ASGI app that answers one path; ``pages`` by method."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            method = "GET" if request.method == "HEAD" else request.method
            response = await self._answer(request, pages.get(method))
            await guarded(request, response)(scope, receive, send)

        return serve

    def unknown(self, request: Request) -> Response:
        """The page for an address that does not exist."""
        error = ProblemError("not_found", "no page has this address")
        visit = self.visit(request)
        return guarded(request, self._preference(visit) or self._refusal(visit, error))

    async def _answer(self, request: Request, page: Page | None) -> Response:
        visit = self.visit(request)
        changed = self._preference(visit)
        if changed is not None:
            return changed
        try:
            if page is None:
                raise ProblemError("method_not_allowed", "this address exists, the method does not")
            if self.service.edge.verifier is None:
                raise ProblemError("not_ready", "the service is starting")
            if page.roles is not None and not visit.session.signed_in:
                return self._to_sign_in(visit)
            asked = [request.url.path, *request.query_params.values()]
            if any("\x00" in text for text in asked):
                raise ProblemError("query_invalid", "an address holds no NUL")
            self.service.edge.limit(visit.subject or "console")
            if page.roles is not None:
                visit.session.caller.require(page.roles)
            if request.method not in READS:
                visit.form = await self._own_form(visit)
            return await page.handler(visit)
        except Exception as error:
            return self._refusal(visit, error)

    def visit(self, request: Request) -> Visit:
        """Who comes, from the cookies."""
        found = self.sealer.open(request.cookies.get(self.cookie(request)), time.time())
        chosen = request.cookies.get("gearline-language", "")
        if chosen not in LANGUAGES:
            chosen = preferred_language(request.headers.get("accept-language"))
        theme = request.cookies.get("gearline-theme", "")
        return Visit(
            request,
            found or Session("", frozenset(), 0.0, ""),
            chosen,
            theme if theme in THEMES else "auto",
            self.service,
            self.sealer,
        )

    @staticmethod
    def cookie(request: Request) -> str:
        """The session cookie's name: over https one that no other host or path can set."""
        return "__Host-gearline" if request.url.scheme == "https" else "gearline-session"

    def keep(self, visit: Visit, response: Response, session: Session) -> Response:
        """Set the session cookie."""
        response.set_cookie(
            self.cookie(visit.request),
            self.sealer.seal(session),
            max_age=max(int(session.expires_at - time.time()), 0),
            path="/",
            secure=visit.request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    def _preference(self, visit: Visit) -> Response | None:
        """``?language=zh`` or ``?theme=dark`` on any page: remembered, then the page without it."""
        query = visit.request.query_params
        chosen = {
            name: query[name]
            for name, allowed in (("language", LANGUAGES), ("theme", THEMES))
            if query.get(name) in allowed
        }
        if not chosen or visit.request.method not in READS:
            return None
        rest = [(k, v) for k, v in query.multi_items() if k not in chosen]
        path = visit.request.url.path
        response = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
        for name, value in chosen.items():
            response.set_cookie(
                f"gearline-{name}",
                value,
                max_age=PREFERENCE_S,
                path="/console",
                secure=visit.request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )
        return response

    async def _own_form(self, visit: Visit) -> dict[str, str]:
        """The form's fields, once it is known to come from a page of this session."""
        request = visit.request
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise ProblemError("media_type", "send a form")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise ProblemError("form_refused", "the form comes from another site")
        body = await read_body(request)
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=400)
        except (UnicodeDecodeError, ValueError):
            raise ProblemError("form_refused", "the form cannot be read") from None
        form = dict(pairs)
        token = form.pop(FORGERY_FIELD, "")
        if any("\x00" in value for value in form.values()):
            raise ProblemError("body_invalid", "a form holds no NUL")
        if not visit.session.nonce or not self.sealer.is_own_form(visit.session, token):
            raise ProblemError("form_refused", "the form is not of this session; load it again")
        return form

    def _to_sign_in(self, visit: Visit) -> Response:
        if visit.request.method not in READS:
            return self._refusal(visit, ProblemError("token_missing", "sign in first"))
        if visit.request.headers.get("hx-request"):
            return Response(status_code=204, headers={"hx-redirect": SIGN_IN})
        path = visit.request.url.path
        return RedirectResponse(
            SIGN_IN if path == HOME else f"{SIGN_IN}?{urlencode({'next': path})}", 303
        )

    def _refusal(self, visit: Visit, error: Exception) -> Response:
        trace = trace_of(None)[3:35]
        if isinstance(error, LedgerUnavailableError):
            error = ProblemError("ledger_unavailable", "the ledger does not answer; try again")
        elif isinstance(error, RequestConflictError):
            error = ProblemError("idempotency_key_reused", str(error))
        elif isinstance(error, InputError):
            error = of_review(error)
        elif not isinstance(error, ProblemError):
            # the kind and the place, not the message: it may hold what the visitor sent
            LOG.error(
                json.dumps({"error": type(error).__name__, "trace_id": trace}), exc_info=error
            )
            error = ProblemError("internal", "")
        return visit.page("error.html.j2", status=error.status, problem=error, trace=trace)


def guarded(request: Request, response: Response) -> Response:
    """The answer with the headers that keep the browser in."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.scheme == "https":
        response.headers["strict-transport-security"] = "max-age=31536000"
    return response


def whole(text: str) -> int | None:
    """A number of at most nine digits from an address or a form; None for anything else.

    >>> whole("42"), whole(""), whole("-1"), whole("²"), whole("9" * 30)
    (42, None, None, None, None)
    """
    ok = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if ok else None


def safe_next(path: str) -> str:
    """Where to go after signing in: only to a page of the console."""
    ok = path.startswith(HOME) and "\\" not in path and "//" not in path and path.isprintable()
    return path if ok else HOME
