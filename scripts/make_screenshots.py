"""Every screen of the console, both languages, on a desk and on a telephone, as pictures.

    python scripts/make_screenshots.py LAKE OUT

LAKE is a demo's folder; it is copied, so nothing is written to it. OUT gets
``LANGUAGE-WIDTH-SCREEN.png``. A screen that is wider than its window, or speaks the other language,
fails the run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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

WIDTHS = {1280: 900, 390: 844}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_S = 90


@contextlib.contextmanager
def served(lake: Path) -> Iterator[str]:
    """``gearline serve`` on a free port while the context is open; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gearline", "serve", "--lake", str(lake), "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ})
    url = f"http://127.0.0.1:{port}"
    try:
        limit = time.monotonic() + PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=2)
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > limit:
                    raise SystemExit("the service did not start") from None
                time.sleep(0.3)
        yield url
    finally:
        server.terminate()
        server.wait()


def things_of(page: Any, url: str) -> Things:
    """One of everything that a screen shows, made through the console itself."""
    sign_in(page, url, "Ann", "risk")
    candidate = make_candidate(page, url)
    proposal = make_proposal(page, url, candidate)
    case = ""
    blind = ""
    page.goto(f"{url}/console/queue")
    listed = page.locator("tr[data-open]")
    for k in range(listed.count()):
        client = listed.nth(k).locator("th a").inner_text()
        is_blind = listed.nth(k).locator("td .tag", has_text="read blind").count() > 0
        if is_blind and not blind:
            blind = client
        elif not is_blind and not case:
            case = client
    client = case
    case = take_case(page, url, f"client={case}")
    blind = take_case(page, url, f"client={blind}") if blind else case
    page.goto(f"{url}/console/clients/{client}")
    decision = str(page.locator(".hashes code").first.text_content())
    page.goto(f"{url}/console/cases/{case}")
    page.fill(
        "form[action$='/note'] input[name=text]", "Called the client; a statement will follow."
    )
    page.locator("form[action$='/note'] button").click()
    settled(page)
    return Things(client, case, blind, candidate, proposal, decision)


def simulated(page: Any) -> None:
    """Pull a lever, so that the picture shows a result."""
    page.fill("input[name=price]", "-20")
    page.locator("form[hx-post] button[type=submit]").click()
    page.wait_for_selector("#simulated table")


def main(lake: Path, out: Path) -> int:
    """Take the pictures; the number of screens that are wrong."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("there is no chromium on this machine; apt-get install chromium", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(lake, Path(folder) / "lake")
        with served(copy) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            things = things_of(browser.new_page(), url)
            for language in ("en", "zh"):
                for width, height in WIDTHS.items():
                    context = browser.new_context(viewport={"width": width, "height": height})
                    page = context.new_page()
                    page.goto(f"{url}{SIGN_IN}?language={language}")
                    page.screenshot(path=out / f"{language}-{width}-sign-in.png", full_page=True)
                    sign_in(page, url, "Ann", "risk", language)
                    for name, path in screens(things).items():
                        page.goto(f"{url}{path}")
                        settled(page)
                        if name == "simulator":
                            simulated(page)
                        wrong += [
                            f"{language} {width} {name}: {w}"
                            for w in faults(page, width, language, name)
                        ]
                        page.screenshot(path=out / f"{language}-{width}-{name}.png", full_page=True)
                    context.close()
                dark = browser.new_context(
                    viewport={"width": 1280, "height": 900}, color_scheme="dark"
                )
                page = dark.new_page()
                sign_in(page, url, "Ann", "risk", language)
                page.goto(f"{url}/console/cases/{things.case}")
                settled(page)
                page.screenshot(path=out / f"{language}-1280-case-dark.png", full_page=True)
                dark.close()
            browser.close()
    print("\n".join(wrong) or f"{len(list(out.glob('*.png')))} pictures in {out}")
    return len(wrong)


def faults(page: Any, width: int, language: str, name: str) -> list[str]:
    """What can be seen without eyes: a page too wide, words of the other language."""
    found = []
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        found.append(f"is {wide} wide")
    if language == "en":
        # the other language's words stand only where they say that they do
        script = """() => { const out = []; const walk = document.createTreeWalker(document.body, 4);
          while (walk.nextNode()) { const e = walk.currentNode.parentElement;
            if (!e.closest('[lang]:not(html)') && /[\\u4e00-\\u9fff]/.test(walk.currentNode.data))
              out.push(walk.currentNode.data.trim()); } return out; }"""
        found += [f"Chinese: {text[:40]}" for text in page.evaluate(script)]
    else:
        script = """() => { const out = []; const walk = document.createTreeWalker(document.body, 4);
          while (walk.nextNode()) { const e = walk.currentNode.parentElement;
            const text = walk.currentNode.data.trim();
            if (!e.closest('[lang]:not(html), [translate=no], code, pre, q, option, kbd, a.brand') && /[a-z]{3,} [a-z]{2,}/.test(text))
              out.push(text); } return out; }"""
        found += [f"English: {text[:60]}" for text in page.evaluate(script)]
    return found


if __name__ == "__main__":
    raise SystemExit(min(main(Path(sys.argv[1]), Path(sys.argv[2])), 1))
