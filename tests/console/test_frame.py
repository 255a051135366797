"""Who gets in, and what keeps a browser from doing what nobody asked for."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.console.access import STAFF
from serving.console.app import all_pages
from serving.console.frame import Frame, safe_next
from serving.console.session import Sealer, Session
from serving.service.app import create_app
from serving.service.tokens import ROLES
from tests.service.conftest import Running

PEOPLE = sorted(STAFF)


def pages_of(console: Running) -> list[Any]:
    service = console.app.state.service
    return all_pages(Frame(service, Sealer(b"k" * 32)))


def filled(path: str) -> str:
    """The address with something in its places: what is tested comes before the place is read."""
    return re.sub(r"{\w+}", "none", path)


@pytest.mark.parametrize("role", PEOPLE)
def test_every_page_opens_to_its_roles_and_to_no_other(
    console: Running, visitor: Any, role: str
) -> None:
    who = visitor(f"one-{role}", role)
    for page in pages_of(console):
        if page.roles is None or page.path.endswith("sign-out"):
            continue
        path = filled(page.path)
        found = who.get(path) if page.method == "GET" else who.post(path, {"key": "k"})
        refused = found.status_code == 403 and "role_missing" in found.text
        assert refused == (role not in page.roles), (page.method, path, found.status_code)


def test_nobody_is_let_in_without_signing_in(console: Running, visitor: Any) -> None:
    stranger = visitor()
    for page in pages_of(console):
        if page.roles is None:
            continue
        path = filled(page.path)
        if page.method == "GET":
            found = stranger.get(path)
            assert found.status_code == 303
            assert found.headers["location"].startswith("/console/sign-in")
        else:
            assert stranger.http.post(path, data={"key": "k"}).status_code == 401


def test_a_bearer_token_of_the_service_signs_a_person_in_and_a_machine_not(
    console: Running, visitor: Any
) -> None:
    for role in ROLES:
        one = visitor()
        form = {"csrf": one.token("/console/sign-in"), "token": console.token(role, "tia")}
        found = one.http.post("/console/sign-in", data=form)
        assert found.status_code == (403 if role == "service" else 303), role
    one = visitor()
    form = {"csrf": one.token("/console/sign-in"), "token": "not.a.token"}
    assert one.http.post("/console/sign-in", data=form).status_code == 401


def test_a_name_and_a_role_let_nobody_in_outside_a_demo(console: Running) -> None:
    from dataclasses import replace

    settings = replace(console.app.state.service.settings, open_sign_in=False)
    with TestClient(create_app(settings), follow_redirects=False) as client:
        page = client.get("/console/sign-in").text
        assert 'name="role"' not in page
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token
        form = {"csrf": token[1], "name": "mallory", "role": "admin"}
        assert client.post("/console/sign-in", data=form).status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_over_https_from_plain_http(
    console: Running,
) -> None:
    settings = console.app.state.service.settings
    with TestClient(create_app(settings), base_url="https://desk.example") as client:
        found = client.get("/console/sign-in")
        cookie = found.headers["set-cookie"]
        assert cookie.startswith("__Host-gearline=")
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        assert found.headers["strict-transport-security"] == "max-age=31536000"
    plain = TestClient(console.app, base_url="http://desk.example").get("/console/sign-in")
    assert plain.headers["set-cookie"].startswith("gearline-session=")
    assert {"HttpOnly", "SameSite=strict"} <= set(plain.headers["set-cookie"].split("; "))


def test_every_answer_carries_the_headers_that_keep_the_browser_in(
    console: Running, visitor: Any
) -> None:
    who = visitor("ann", "risk")
    for path in (
        "/console/sign-in",
        "/console/queue",
        "/console/none",
        "/console/assets/console.css",
    ):
        headers = who.get(path).headers
        policy = dict(
            part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
    assert who.get("/console/queue").headers["cache-control"] == "no-store"


def test_no_page_has_a_script_a_style_or_a_handler_of_its_own(
    console: Running, visitor: Any
) -> None:
    who = visitor("ann", "risk")
    pages = ["/console/queue", "/console/night", "/console/model", "/console/clients/c00",
             "/console/simulator?client=c00", "/console/policy", "/console/audit"]  # fmt: skip
    for path in pages:
        text = who.get(path).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), path
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text), path


def test_a_form_without_the_sessions_token_changes_nothing(console: Running, visitor: Any) -> None:
    who, other = visitor("ann", "risk"), visitor("bob", "risk")
    before = console.size
    form = {"review_on": "2025-06-01", "reason": "because", "key": "k-forged"}
    for token in ("", "guess", other.token("/console/night")):
        found = who.http.post("/console/model", data={**form, "csrf": token})
        assert found.status_code == 403
        assert "form_refused" in found.text
    assert who.http.post("/console/model", json=form).status_code == 415
    own = who.token("/console/night")
    for origin in ("https://evil.example", "null"):
        sent = who.http.post(
            "/console/model", data={**form, "csrf": own}, headers={"origin": origin}
        )
        assert sent.status_code == 403
    assert console.size == before
    assert who.post("/console/model", form).status_code == 303
    assert console.size > before


def test_a_form_that_is_sent_twice_takes_effect_once(console: Running, visitor: Any) -> None:
    who = visitor("ann", "risk")
    form = {"review_on": "2025-06-01", "reason": "once", "key": "k-once"}
    assert who.post("/console/model", form).status_code == 303
    size = console.size
    assert who.post("/console/model", form).status_code == 303
    assert console.size == size
    assert who.post("/console/model", {**form, "reason": "twice"}).status_code == 422


def test_a_cookie_that_is_forged_expired_or_signed_out_opens_nothing() -> None:
    sealer, now = Sealer(b"a" * 32), time.time()
    session = Session("ann", frozenset({"risk"}), now + 60, "n1")
    cookie = sealer.seal(session)
    assert sealer.open(cookie, now) == session
    assert sealer.open(cookie, now + 61) is None
    assert Sealer(b"b" * 32).open(cookie, now) is None
    text, _, mac = cookie.partition(".")
    assert sealer.open(f"{text[:-2]}AA.{mac}", now) is None
    for bad in (None, "", "x", ".", "x.y", "é.é"):
        assert sealer.open(bad, now) is None
    sealer.end(session)
    assert sealer.open(cookie, now) is None


def test_who_has_signed_out_is_out_even_with_the_old_cookie(visitor: Any) -> None:
    who = visitor("ann", "risk")
    jar = dict(who.http.cookies)
    assert who.post("/console/sign-out", {}).status_code == 303
    who.http.cookies.update(jar)
    assert who.get("/console/queue").status_code == 303


def test_signing_in_leads_on_only_to_pages_of_the_console(visitor: Any) -> None:
    for path in ("//evil.example", "https://evil.example", "/console/\\evil", "/v1/policy",
                 "/console//evil", "/console/\nx"):  # fmt: skip
        assert safe_next(path) == "/console/", path
    assert safe_next("/console/night") == "/console/night"
    one = visitor()
    form = {"csrf": one.token("/console/sign-in"), "name": "a", "role": "risk", "next": "//evil"}
    assert one.http.post("/console/sign-in", data=form).headers["location"] == "/console/"


def test_the_language_follows_the_browser_until_somebody_chooses(visitor: Any) -> None:
    one = visitor()
    chinese = one.get("/console/sign-in", headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert '<html lang="zh-Hans"' in chinese.text
    assert '<html lang="en"' in one.get("/console/sign-in").text
    chosen = one.get("/console/sign-in?language=zh&next=/console/night")
    assert chosen.status_code == 303
    assert chosen.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fnight"
    assert '<html lang="zh-Hans"' in one.get("/console/sign-in").text
    one.get("/console/sign-in?theme=dark")
    assert 'data-theme="dark"' in one.get("/console/sign-in").text


def test_an_error_page_speaks_the_readers_language_and_tells_no_secret(visitor: Any) -> None:
    who = visitor("ann", "reviewer")
    found = who.get("/console/no-such-page?language=en")
    assert found.status_code == 303
    missing = who.get("/console/no-such-page")
    assert missing.status_code == 404
    assert "There is nothing here" in missing.text
    who.get("/console/queue?language=zh")
    assert "此处没有内容" in who.get("/console/no-such-page").text
    assert who.get("/console/clients/nobody").status_code == 404


def test_strange_words_in_addresses_and_forms_are_answered_with_a_page(visitor: Any) -> None:
    who = visitor("ann", "risk")
    strange = ("%00", "%C2%B2", "9" * 40, "..%2F..", "%27--", "%E4%B8%AD", "NaN", "1e999999")
    pages = ("queue?client={}", "queue?cursor={}", "queue?rule={}", "audit?before={}",
             "audit?client_id={}", "audit/entries/{}", "replay?sample={}", "replay?decision={}",
             "figures?days={}", "night?run={}", "simulator?client={}", "clients/{}", "cases/{}",
             "clients/c00/letter?in={}", "proposals/{}", "policy/candidates/{}")  # fmt: skip
    for page in pages:
        for word in strange:
            found = who.get(f"/console/{page.format(word)}")
            assert found.status_code < 500, (page, word)
    for field in ("price", "deposit", "ask", "sell_shares", "f.cash_share"):
        for word in ("NaN", "Infinity", "1e999999", "²", "中", "\x00", "-1", "9" * 40):
            form = {"client": "c00", "sell": "AAA", field: word}
            found = who.post("/console/simulator", form)
            assert found.status_code < 500, (field, word)
    assert who.post("/console/model", {"key": "中", "review_on": "x"}).status_code < 500
