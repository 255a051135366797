"""The whole story in a browser: a case is taken, overridden, approved by another, and replayed."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from serving.ledger import LedgerReader
from tests.console.screens import sign_in, sign_out
from tests.service.conftest import Running

CLIENT = "refuses"
REASON = {
    "en": "You asked that a person decides.",
    "zh": "您要求由人工作出决定。",
}


def test_a_case_is_taken_overridden_approved_by_another_and_replayed_equal(
    console: Running, browser: Any
) -> None:
    rita = browser()
    sign_in(rita, console.url, "rita", "reviewer")

    # the queue by keyboard: down to the row, open it, take it
    rita.goto(f"{console.url}/console/queue?client={CLIENT}")
    rita.keyboard.press("j")
    expect(rita.locator("tr[data-open].at")).to_have_count(1)
    rita.keyboard.press("Enter")
    rita.wait_for_url(re.compile(r"/console/cases/"))
    case_page = rita.url
    case_id = case_page.rsplit("/", 1)[1]
    expect(rita.locator("form[data-decide]")).to_have_count(0)
    rita.keyboard.press("a")
    expect(rita.locator("form[data-decide]")).to_have_count(1)

    # the reasons in both languages
    for tongue in ("zh", "en"):
        rita.goto(f"{case_page}?language={tongue}")
        expect(rita.locator(".reasons li > span").first).to_have_text(REASON[tongue])
    expect(rita.locator("table.picture", has_text="Law and exchange rule").first).to_be_visible()

    # a what-if by the production engine
    rita.keyboard.press("w")
    rita.wait_for_url(re.compile(r"/console/simulator"))
    rita.fill("input[name=deposit]", "5000")
    rita.get_by_role("button", name="Decide").click()
    expect(rita.locator("#simulated h2")).to_have_text("Result")
    expect(rita.locator("#simulated table.plain tbody tr").first).to_contain_text("▲")

    # an override: the reason by its digit, sent by Ctrl+Enter
    rita.goto(case_page)
    rita.keyboard.press("6")
    expect(rita.locator("select[name=reason_code]")).to_have_value("adverse_news")
    expect(rita.locator("input[name=action][value=override]")).to_be_checked()
    rita.fill("input[name=max_debt_amt]", "1000")
    rita.fill("textarea[name=text]", "A court case was opened against the client.")
    rita.keyboard.press("Control+Enter")
    rita.wait_for_url(lambda url: url != case_page)
    rita.goto(case_page)
    expect(rita.locator("h1 .tag.proposed")).to_be_visible()
    proposal = str(rita.locator(".note a").get_attribute("href"))

    # one's own override is refused, on the page and by direct HTTP
    rita.goto(f"{console.url}{proposal}")
    expect(rita.get_by_text("You wrote this. Somebody else must approve it.")).to_be_visible()
    expect(rita.get_by_role("button", name="Approve")).to_have_count(0)
    number = proposal.rsplit("/", 1)[1]
    document = console.call("GET", f"/v1/proposals/{number}", "reviewer").json()
    approve = {"content_sha256": document["content_sha256"]}
    path = f"/v1/proposals/{number}/approvals"
    assert console.call("POST", path, "reviewer", subject="rita", json=approve).status_code == 403
    own = console.call("POST", path, "approver", subject="rita", json=approve)
    assert own.status_code == 403
    assert own.json()["code"] == "four_eyes"

    # a second person approves what they have read
    paul = browser()
    sign_in(paul, console.url, "paul", "approver")
    paul.goto(f"{console.url}/console/proposals")
    paul.locator(f"a[href='{proposal}']").click()
    paul.get_by_role("button", name="Approve").click()
    expect(paul.locator(".tag.open")).to_be_visible()  # unread: the browser asks for the tick
    paul.locator("input[name=read]").check()
    paul.get_by_role("button", name="Approve").click()
    expect(paul.locator("h1 .tag.approved")).to_be_visible()

    # the record shows both people, and the decision that supersedes
    with LedgerReader(console.ledger) as reader:
        acts = [(e.body["act"], e.body["actor"]) for e in reader.latest(f"proposal_id/{number}", 20)
                if e.kind == "proposal"]  # fmt: skip
        assert acts == [("approved", "paul"), ("created", "rita")]
        made: list[Any] = [
            e.body for e in reader.latest(f"client_id/{CLIENT}", 20) if e.kind == "decision"
        ]
    assert made[0]["settled"]["max_debt_amt"] == "1000.00"
    assert made[0]["decision"]["supersedes"] == document["content"]["decision_id"]
    assert made[0]["decision"]["binding"] == "override"
    cora = browser()
    sign_in(cora, console.url, "cora", "auditor")
    cora.goto(f"{console.url}/console/audit?proposal_id={number}")
    listed = cora.locator("main tbody").inner_text()
    assert "rita" in listed
    assert "paul" in listed
    cora.get_by_role("button", name="Verify everything").click()
    expect(cora.locator(".good")).to_contain_text("all in order")

    # the new decision replays equal
    cora.goto(f"{console.url}/console/replay?decision={made[0]['decision_id']}")
    expect(cora.locator("[data-equal='1'][data-checked='1']")).to_be_visible()
    cora.goto(f"{console.url}/console/cases/{case_id}")
    expect(cora.locator(".timeline")).to_contain_text("Override approved paul")
    sign_out(cora)


def test_a_policy_change_is_read_by_its_effect_and_approved_by_hash(
    console: Running, browser: Any
) -> None:
    from tests.console.screens import make_candidate, make_proposal

    ann = browser()
    sign_in(ann, console.url, "ann", "risk")
    candidate = make_candidate(ann, console.url)
    expect(ann.locator("main")).to_contain_text("drawn by a fixed seed")
    number = make_proposal(ann, console.url, candidate)
    document = console.call("GET", f"/v1/proposals/{number}", "reviewer").json()
    assert document["content"] == {"pack": "us", "sha256": candidate}
    for name in ("paul", "petra"):
        other = browser()
        sign_in(other, console.url, name, "approver", "zh")
        other.goto(f"{console.url}/console/proposals/{number}")
        other.locator("input[name=read]").check()
        other.get_by_role("button", name="批准").click()
        expect(other.locator(".timeline")).to_contain_text(name)
        if other.locator("h1 .tag.approved").count():
            break
    expect(other.locator("h1 .tag")).to_have_text("已批准")


def test_shortcuts_rest_while_a_field_has_the_focus_and_while_an_input_method_composes(
    console: Running, browser: Any
) -> None:
    page = browser()
    sign_in(page, console.url, "nora", "risk")
    page.goto(f"{console.url}/console/queue")
    page.focus("input[name=client]")
    page.keyboard.type("j?")
    expect(page.locator("tr[data-open].at")).to_have_count(0)
    expect(page.locator("dialog#help")).not_to_be_visible()
    assert page.input_value("input[name=client]") == "j?"
    page.locator("h1").click()
    page.evaluate("document.dispatchEvent(new CompositionEvent('compositionstart'))")
    page.keyboard.press("j")
    expect(page.locator("tr[data-open].at")).to_have_count(0)
    page.evaluate("document.dispatchEvent(new CompositionEvent('compositionend'))")
    page.keyboard.press("j")
    expect(page.locator("tr[data-open].at")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.locator("dialog#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog#help")).not_to_be_visible()


def test_no_single_key_decides_a_case(console: Running, browser: Any) -> None:
    page = browser()
    sign_in(page, console.url, "otto", "risk")
    page.goto(f"{console.url}/console/queue?client=amlhigh")
    page.locator("tr[data-open] a").first.click()
    page.locator("[data-take-here]").click()
    expect(page.locator("form[data-decide]")).to_have_count(1)
    before = console.size
    for key in [*"abcdefghijklmnopqrstuvxyz0123456789", "Enter", "Space", "Control+Enter"]:
        page.locator("h1").click()
        page.keyboard.press(key)
    assert "/console/cases/" in page.url
    assert console.size == before
    expect(page.locator("h1 .tag.open")).to_be_visible()
