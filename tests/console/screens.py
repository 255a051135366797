"""Every screen of the console by name, for the tests that look at all of them and for pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import expect

SIGN_IN = "/console/sign-in"


@dataclass(frozen=True)
class Things:
    """What the screens of single things are shown with."""

    client: str
    case: str
    blind: str
    candidate: str
    proposal: str
    decision: str


def screens(things: Things) -> dict[str, str]:
    """The address of every screen that a signed-in person can see."""
    client = f"/console/clients/{things.client}"
    return {
        "queue": "/console/queue",
        "case": f"/console/cases/{things.case}",
        "case-blind": f"/console/cases/{things.blind}",
        "clients": "/console/clients",
        "client": client,
        "letter-zh": f"{client}/letter?in=zh",
        "letter-en": f"{client}/letter?in=en",
        "proposals": "/console/proposals",
        "proposal": f"/console/proposals/{things.proposal}",
        "night": "/console/night",
        "policy": "/console/policy",
        "candidate": f"/console/policy/candidates/{things.candidate}",
        "model": "/console/model",
        "simulator": f"/console/simulator?client={things.client}",
        "replay": f"/console/replay?decision={things.decision}",
        "audit": "/console/audit",
        "entry": "/console/audit/entries/0",
        "figures": "/console/figures",
        "error": "/console/no-such-page",
    }


def sign_in(page: Any, url: str, name: str, role: str, language: str = "en") -> None:
    """Sign in by name and role, as a demo lets people in."""
    page.goto(f"{url}{SIGN_IN}?language={language}")
    page.fill("input[name=name]", name)
    page.select_option("select[name=role]", role)
    page.locator("form:has(select[name=role]) button[type=submit]").click()
    page.wait_for_url(re.compile(r"/console/(?!sign-in)"))


def sign_out(page: Any) -> None:
    """Leave."""
    page.locator("form[action='/console/sign-out'] button").click()
    page.wait_for_url(re.compile("sign-in"))


def settled(page: Any) -> None:
    """Wait until every part that a page loads by itself is there."""
    expect(page.locator("[hx-trigger=load], .htmx-request")).to_have_count(0)


def take_case(page: Any, url: str, query: str) -> str:
    """Take the first case that a list shows; its number."""
    page.goto(f"{url}/console/queue?{query}")
    page.locator("tr[data-open] a").first.click()
    page.locator("[data-take-here]").click()
    page.wait_for_selector("form[data-decide], form[action$='/view']")
    return str(page.url.rsplit("/", 1)[1])


def make_candidate(page: Any, url: str) -> str:
    """Draft a change of a house rule through the form; the candidate's hash."""
    page.goto(f"{url}/console/policy")
    page.select_option("select[name=rule]", "commercial_margin_bps")
    page.fill("input[name=values]", "150")
    page.fill("input[name=reference]", "Risk committee 2024-03")
    page.locator("form[action='/console/policy'] button[type=submit]").click()
    page.wait_for_url(re.compile("candidates/"))
    return str(page.url.rsplit("/", 1)[1])


def make_proposal(page: Any, url: str, candidate: str) -> str:
    """Propose a candidate; the number of the proposal."""
    page.goto(f"{url}/console/policy/candidates/{candidate}")
    page.fill("textarea[name=reason]", "Funding has become dearer.")
    page.locator("form[action^='/console/policy/candidates'] button[type=submit]").click()
    page.wait_for_selector("a[href^='/console/proposals/']")
    link = page.locator("main a[href^='/console/proposals/']").first.get_attribute("href")
    return str(link).rsplit("/", 1)[1]
