"""Every screen in both languages and themes: axe-core finds nothing serious, nothing overflows."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.console.screens import (
    SIGN_IN,
    Things,
    make_candidate,
    make_proposal,
    screens,
    settled,
    sign_in,
    take_case,
)
from tests.service.conftest import Running

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def things(chromium: Any, console: Running) -> Things:
    """One of everything that a screen shows."""
    page = chromium.new_page()
    sign_in(page, console.url, "ann", "risk")
    candidate = make_candidate(page, console.url)
    proposal = make_proposal(page, console.url, candidate)
    case = take_case(page, console.url, "client=kycmissing")
    blind = take_case(page, console.url, "client=called")
    page.goto(f"{console.url}/console/clients/c00")
    decision = page.locator(".hashes code").first.text_content()
    page.close()
    return Things("c00", case, blind, candidate, proposal, str(decision))


def violations(page: Any) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for v in found
        if v["impact"] in SERIOUS
        for node in v["nodes"]
    ]


def test_axe_finds_a_barrier_that_was_planted(console: Running, browser: Any) -> None:
    page = browser()
    page.goto(f"{console.url}{SIGN_IN}")
    assert violations(page) == []
    page.evaluate(
        """document.querySelector('input[name=name]').replaceWith(
          Object.assign(document.createElement('img'), {src: '/console/assets/icon.svg'}))"""
    )
    assert violations(page)


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
def test_no_screen_has_a_serious_barrier_or_is_wider_than_a_telephone(
    console: Running, browser: Any, things: Things, language: str, theme: str
) -> None:
    page = browser(color_scheme=theme)
    page.goto(f"{console.url}{SIGN_IN}?language={language}")
    assert violations(page) == []
    sign_in(page, console.url, "ann", "risk", language)
    tag = {"en": "en", "zh": "zh-Hans"}[language]
    for name, path in screens(things).items():
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"{console.url}{path}")
        settled(page)
        for summary in page.locator("main details > summary").all():
            summary.click()
        settled(page)
        assert violations(page) == [], name
        assert page.locator("html").get_attribute("lang") == tag
        page.set_viewport_size({"width": 390, "height": 844})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, (name, wide)
