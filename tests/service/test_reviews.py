"""The review queue over HTTP: who sees what and when, four eyes, and the data at approval."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.review import find
from serving.ledger import LedgerReader, verify
from serving.replay import replay_sample
from serving.review import entry_case
from tests.service.lake import NOW, PLAIN
from tests.service.test_proposals import approve

EXPIRES = "2024-05-01"


@pytest.fixture
def sighted(monkeypatch):
    """No case is read blind."""
    for place in ("serving.review.opening", "serving.review.queue"):
        monkeypatch.setattr(f"{place}.is_blind", lambda case_id, policy: False)


@pytest.fixture
def blind(monkeypatch):
    """Every case is read blind."""
    for place in ("serving.review.opening", "serving.review.queue"):
        monkeypatch.setattr(f"{place}.is_blind", lambda case_id, policy: True)


def refer(service, client="c00"):
    """A decision that goes to a person: more is asked for than the limit."""
    made = service.decide(client, "700000.00")
    assert made.json()["outcome"] == "refer", made.text
    return made.json()


def post(service, path, body=None, role="reviewer", subject="ann", **more):
    return service.call("POST", path, role, subject=subject, json=body or {}, **more)


def take(service, subject="ann", role="reviewer"):
    made = post(service, "/v1/reviews/next", role=role, subject=subject)
    assert made.status_code == 201, made.text
    return made.json()


def act(service, case, name, body=None, subject="ann", role="reviewer", **more):
    return post(service, f"/v1/reviews/{case['case_id']}/{name}", body, role, subject, **more)


def override(service, case, amount, code="adverse_news", subject="ann", **more):
    body = {"max_debt_amt": amount, "reason_code": code, "expires_on": EXPIRES, "text": "why"}
    return act(service, case, "overrides", body, subject, **more)


def case_of(service, case, role="auditor", subject="eve", **more):
    return service.call("GET", f"/v1/reviews/{case['case_id']}", role, subject=subject, **more)


def limits(service, client="c00"):
    return service.call("GET", f"/v1/clients/{client}/limits").json()


def test_a_referred_decision_opens_its_case_in_the_same_transaction(serve, sighted):
    service = serve()
    decided = refer(service)
    with LedgerReader(service.ledger) as reader:
        [entry] = reader.latest("kind/review_opened")
    assert entry.position == decided["entry"]["position"] + 1
    case = take(service)
    assert (case["decision_id"], case["outcome"]) == (decided["decision_id"], "refer")
    assert "exception" in [t["rule"] for t in case["triggers"]]


def test_a_decision_that_is_sent_again_opens_one_case(serve, sighted):
    service = serve()
    body = {"client_id": "c00", "currency": "USD", "requested_debt_amt": "700000.00"}
    for _ in range(2):
        service.call("POST", "/v1/decisions", json=body, key="once")
    assert service.call("GET", "/v1/reviews", "auditor").json()["counts"]["open"] == 1


def test_why_a_case_is_here_is_told_in_both_languages_with_value_and_bound(serve, sighted):
    service = serve()
    refer(service)
    case = take(service)
    for tongue, word in (("en", "referred"), ("zh", "人工")):
        shown = case_of(service, case, headers={"accept-language": tongue}).json()
        assert any(word in t["text"] for t in shown["triggers"]), shown["triggers"]
        assert shown["decision"]["reasons"]
        assert {r["language"] for r in shown["decision"]["reasons"]} == {tongue}


def test_take_propose_approve_and_the_ledger_shows_both_and_replay_is_equal(serve, sighted):
    service = serve()
    decided = refer(service)
    case = take(service)
    proposal = override(service, case, "5.00").json()
    assert (proposal["direction"], proposal["quorum"]) == ("tightens", 1)
    assert case_of(service, case).json()["state"] == "proposed"
    own = approve(service, proposal, "ann")
    assert (own.status_code, own.json()["code"]) == (403, "four_eyes")
    assert approve(service, proposal, "bob").json()["state"] == "approved"
    closed = case_of(service, case).json()
    assert (closed["state"], closed["resolution"]) == ("closed", "overridden")
    assert closed["acts"][-1]["detail"]["author"] == "ann"
    assert closed["acts"][-1]["actor"] == "bob"
    number = closed["acts"][-1]["detail"]["new_decision_id"]
    new = service.call("GET", f"/v1/decisions/{number}").json()
    assert new["supersedes"] == decided["decision_id"]
    assert (new["max_debt_amt"], new["binding"]) == ("5.00", "override")
    assert limits(service)["decision_id"] == number
    assert service.decide("c00").json()["max_debt_amt"] == "5.00"
    report = replay_sample(service.lake, service.ledger, 1000, 7)
    assert report.checked == report.equal
    assert verify(service.ledger, base_dir=service.lake).ok


def test_a_loosening_override_needs_three_and_reaches_up_to_hard_and_not_past_it(serve, sighted):
    service = serve()
    decided = refer(service)
    hard = min(
        float(w["limit_amt"])
        for w in decided["cap_waterfall"]
        if w["term"] in ("statutory", "line", "concentration", "group", "firm")
        and w["limit_amt"] is not None
    )
    assert hard > float(decided["max_debt_amt"])
    case = take(service)
    past = override(service, case, f"{hard + 1:.2f}", "guarantee")
    assert (past.status_code, past.json()["code"]) == (409, "past_hard")
    wrong = override(service, case, f"{hard:.2f}", "adverse_news")
    assert wrong.json()["errors"][0]["pointer"] == "/reason_code"
    proposal = override(service, case, f"{hard:.2f}", "guarantee").json()
    assert (proposal["direction"], proposal["quorum"]) == ("loosens", 3)
    for who in ("bob", "cid"):
        assert approve(service, proposal, who).json()["state"] == "open"
    assert limits(service)["max_debt_amt"] == decided["max_debt_amt"]
    assert approve(service, proposal, "dan").json()["state"] == "approved"
    assert limits(service)["max_debt_amt"] == f"{hard:.2f}"
    report = replay_sample(service.lake, service.ledger, 1000, 7)
    assert report.checked == report.equal


def test_an_override_is_refused_at_approval_where_the_data_moved_below_it(serve, sighted):
    service = serve()
    decided = refer(service)
    case = take(service)
    amount = f"{float(decided['max_debt_amt']) + 100:.2f}"
    proposal = override(service, case, amount, "guarantee").json()
    for who in ("bob", "cid"):
        approve(service, proposal, who)
    engine = service.app.state.service.engine
    poorer = replace(engine.world.market, net_capital_amt=1_000_00)
    engine.world = replace(engine.world, market=poorer)
    size = service.size
    refused = approve(service, proposal, "dan")
    assert (refused.status_code, refused.json()["code"]) == (409, "past_hard")
    assert "the term 'firm'" in refused.json()["detail"]
    assert service.size == size
    assert case_of(service, case).json()["state"] == "proposed"


def test_a_rejected_override_puts_the_case_back_and_it_cannot_be_edited(serve, sighted):
    service = serve()
    refer(service)
    case = take(service)
    proposal = override(service, case, "5.00").json()
    path = f"/v1/proposals/{proposal['proposal_id']}"
    body = {
        "kind": "override", "direction": "tightens", "reason": "x",
        "content": {"client_id": "c00", "decision_id": "d", "max_debt_amt": "1.00"},
    }  # fmt: skip
    edited = service.call(
        "PUT", path, "reviewer", subject="ann", json=body, headers={"if-match": '"1"'}
    )
    assert (edited.status_code, edited.json()["code"]) == (409, "state_conflict")
    post(service, f"{path}/rejections", {"reason": "no ground"}, "approver", "bob")
    assert case_of(service, case).json()["state"] == "open"
    assert take(service, "zoe")["case_id"] == case["case_id"]


def test_an_override_that_expired_binds_no_more(serve, sighted):
    service = serve()
    before = refer(service)
    proposal = override(service, take(service), "5.00").json()
    approve(service, proposal, "bob")
    engine = service.app.state.service.engine
    known = engine._now
    engine._now = lambda: known().replace(year=2025)
    try:
        after = service.decide("c00").json()
    finally:
        engine._now = known
    assert after["binding"] != "override"
    assert before["max_debt_amt"] != "5.00"


def test_an_approver_related_to_the_client_or_of_small_authority_is_refused(serve, sighted):
    service = serve()
    refer(service)
    proposal = override(service, take(service), "5.00").json()
    for amount, related in (("1000000.00", ["c00"]), ("1.00", [])):
        body = {
            "level": 2, "authority_amt": {"USD": amount}, "related_clients": related,
            "related_groups": [],
        }  # fmt: skip
        put = service.call("PUT", "/v1/reviewers/bob", "admin", subject="root", json=body)
        assert put.status_code == 200, put.text
        assert approve(service, proposal, "bob").json()["code"] == "review_refused"
    mine = service.call("PUT", "/v1/reviewers/root", "admin", subject="root", json=body)
    assert mine.json()["code"] == "review_refused"


def test_a_blind_case_withholds_score_and_reasons_until_ones_own_view_is_on_record(serve, blind):
    service = serve()
    decided = refer(service)
    case = take(service)
    told = ("decision_id", "outcome", "tier", "exposure_amt", "max_debt_amt")
    assert case["withheld"]
    assert case["triggers"] == []
    assert {case[name] for name in told} == {None}
    shown = case_of(service, case, "reviewer", "ann").json()
    assert shown["decision"] is None
    listed = service.call("GET", "/v1/reviews", "reviewer", subject="ann").json()["cases"]
    assert listed[0]["outcome"] is None
    for path in (f"/v1/decisions/{decided['decision_id']}", "/v1/clients/c00/limits"):
        round_about = service.call("GET", path, "reviewer", subject="ann")
        assert (round_about.status_code, round_about.json()["code"]) == (403, "blind_read")
    assert service.call("GET", path, "risk", subject="rex").status_code == 200
    assert service.call("GET", path, "auditor", subject="ann").status_code == 200
    body = {"client_id": "c00", "currency": "USD"}
    assert post(service, "/v1/simulations", body).json()["code"] == "blind_read"
    early = act(service, case, "confirmations", {"outcome": "approve", "text": "fine"})
    assert early.json()["code"] == "state_conflict"
    view = {"outcome": "decline", "text": "too much is asked for"}
    seen = act(service, case, "views", view).json()
    assert (seen["withheld"], seen["outcome"]) == (False, "refer")
    shown = case_of(service, case, "reviewer", "ann").json()
    assert shown["decision"]["decision_id"] == decided["decision_id"]
    done = act(service, case, "confirmations", {"outcome": "decline", "text": "as I thought"})
    assert done.json()["final_outcome"] == "decline"
    figures = service.call("GET", "/v1/review-kpis", "risk").json()
    assert figures["blind"]["views"] == 1


@pytest.mark.parametrize("client", ["sanctioned", "amlhigh", "pep"])
def test_what_is_for_compliance_alone_is_no_work_of_staff(serve, sighted, client):
    service = serve()
    service.decide(client)
    staff = service.call("GET", "/v1/reviews", "reviewer", subject="ann")
    assert "gate_" not in staff.text
    assert all(c["client_id"] != client for c in staff.json()["cases"])
    hidden = service.call("GET", "/v1/reviews?state=any", "auditor").json()["cases"]
    if client == "sanctioned":  # refused by law: nobody is asked
        assert not [c for c in hidden if c["outcome"] == "refer"]
        return
    [case] = hidden
    assert case_of(service, case, "reviewer", "ann").status_code == 404
    assert act(service, case, "leases").status_code == 404
    assert act(service, case, "leases", subject="rex", role="risk").status_code == 201
    proposal = override(service, case, "5.00", subject="rex", role="risk").json()
    path = f"/v1/proposals/{proposal['proposal_id']}"
    assert service.call("GET", path, "auditor").status_code == 200
    assert service.call("GET", path, "reviewer").status_code == 404
    assert proposal["proposal_id"] not in service.call("GET", "/v1/proposals", "approver").text
    assert approve(service, proposal, "bob").status_code == 404


def test_a_blind_case_for_compliance_shuts_nothing_to_staff_and_so_shows_itself_to_none(
    serve, blind
):
    service = serve()
    made = service.decide("pep", "10.00")
    shown = service.call("GET", made.headers["location"], "reviewer", subject="ann")
    assert shown.status_code == 200
    take(service, "rex", "risk")
    held = service.call("GET", made.headers["location"], "risk", subject="rex")
    assert held.json()["code"] == "blind_read"


def test_a_nights_cases_open_once_and_show_the_sealed_decision(serve, sighted):
    service = serve()
    desk = service.app.state.service.reviews
    first = desk.open_run(service.lake, "night-1", NOW)
    again = desk.open_run(service.lake, "night-1", NOW)
    assert (first.decisions, first.opened) == (29, first.found)
    assert (again.found, again.opened) == (first.found, 0)
    assert first.by_rule["human_requested"] == 1
    refused = service.call("GET", "/v1/reviews?client_id=refuses", "auditor").json()["cases"]
    shown = case_of(service, refused[0]).json()
    assert shown["triggers"][0]["rule"] == "human_requested"
    assert shown["decision"]["decision_id"] == shown["decision_id"]
    assert verify(service.ledger, base_dir=service.lake).ok


def test_an_appeal_against_a_decision_of_a_night_finds_it_in_its_segment(serve, sighted):
    service = serve()
    night = limits(service, PLAIN[3])["decision_id"]
    body = {"decision_id": night, "text": "the client disagrees"}
    made = post(service, "/v1/appeals", body, "service", "front")
    assert made.status_code == 201, made.text
    case = take(service)
    assert (case["kind"], case["decision_id"]) == ("appeal", night)
    unknown = {"decision_id": "d-unknown", "text": "?"}
    assert post(service, "/v1/appeals", unknown, "service", "front").status_code == 404
    assert post(service, "/v1/appeals", body, "auditor").status_code == 403


def test_the_same_request_again_takes_the_same_case_and_gives_the_same_bytes(serve, sighted):
    service = serve()
    refer(service, "c00")
    refer(service, "c01")
    one = post(service, "/v1/reviews/next", key="press-once")
    two = post(service, "/v1/reviews/next", key="press-once")
    assert (one.status_code, one.content) == (two.status_code, two.content)
    other = post(service, "/v1/reviews/next", {"x": 1}, key="press-once")
    assert other.status_code == 422


def test_pages_filters_and_wrong_parameters(serve, sighted):
    service = serve()
    for k in range(5):
        refer(service, f"c{k:02d}")
    seen, cursor = [], ""
    while cursor is not None:
        place = f"&cursor={cursor}" if cursor else ""
        page = service.call("GET", f"/v1/reviews?limit=2{place}", "auditor").json()
        seen += [c["case_id"] for c in page["cases"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 5
    take(service)
    mine = service.call("GET", "/v1/reviews?held=mine", "reviewer", subject="ann").json()
    assert len(mine["cases"]) == 1
    for query in ("limit=0", "state=gone", "late=maybe", "cursor=!", "colour=red", "level=9"):
        refused = service.call("GET", f"/v1/reviews?{query}", "auditor")
        assert (refused.status_code, refused.json()["code"]) == (400, "query_invalid"), query


def test_nothing_waits_is_said_so_and_a_service_reads_no_queue(serve):
    service = serve()
    empty = post(service, "/v1/reviews/next")
    assert (empty.status_code, empty.json()["code"]) == (404, "queue_empty")
    assert service.call("GET", "/v1/reviews", "service").status_code == 403


def test_figures_count_what_was_done(serve, sighted):
    service = serve()
    for k in range(3):
        refer(service, f"c{k:02d}")
    one, two = take(service), take(service)
    act(service, one, "confirmations", {"outcome": "decline", "text": "no"})
    approve(service, override(service, two, "5.00").json(), "bob")
    figures = service.call("GET", "/v1/review-kpis?days=7", "risk").json()
    assert (figures["closed"], figures["override_rate"]) == (2, "0.500000")
    assert figures["overrides_by_reason"] == [{"reason": "adverse_news", "cases": 1}]
    assert figures["overrides_by_side"] == [{"side": "tightens", "cases": 1}]
    [ann] = [r for r in figures["reviewers"] if r["reviewer"] == "ann"]
    assert (ann["taken"], ann["confirmed"], ann["overrides_proposed"]) == (2, 1, 1)
    assert service.call("GET", "/v1/review-kpis", "reviewer").status_code == 403


def test_the_rules_are_shown_with_their_reference_in_both_languages(service):
    for tongue, word in (("en", "Near a boundary"), ("zh", "接近等级边界")):
        shown = service.call(
            "GET", "/v1/review-rules", "reviewer", headers={"accept-language": tongue}
        ).json()
        assert word in [r["name"] for r in shown["rules"]]
        assert len(shown["override_reasons"]) == 9
    assert find.hash_share("house-1", "d1") == 192_446
    assert callable(entry_case)
