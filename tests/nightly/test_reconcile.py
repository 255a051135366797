"""What the counter enforces against what was decided: nothing looser goes unseen."""

from __future__ import annotations

import csv

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.gate.reconcile import Terms, lends_more, reconcile, totals
from serving.ledger import Ledger
from serving.nightly.publishing.flow import publish_run
from tests.service.lake import make_lake

LINES = {"warn": 1_450_000, "call": 1_300_000, "force": 1_100_000}
clients = st.sampled_from(["a", "b", "c", "d"])
terms = st.builds(
    Terms,
    max_debt_amt=st.integers(0, 10**9),
    rate_bps=st.integers(0, 2000),
    lines=st.just(LINES),
    debt_amt=st.integers(0, 10**9),
)
books = st.dictionaries(clients, terms)


@given(books)
def test_what_is_enforced_as_decided_differs_in_nothing(book):
    assert reconcile(book, book) == []


@given(books, books)
def test_every_client_is_accounted_for_and_money_is_never_negative(decided, enforced):
    found = reconcile(decided, enforced)
    assert {d.client_id for d in found if d.kind == "missing"} == decided.keys() - enforced.keys()
    assert {d.client_id for d in found if d.kind == "extra"} == enforced.keys() - decided.keys()
    assert all(d.amount >= 0 for d in found)
    assert sum(t["count"] for t in totals(found).values()) == len(found)


@given(books, clients, st.integers(1, 10**6))
def test_a_larger_limit_is_always_found_and_a_smaller_one_never_called_looser(book, client, by):
    if client not in book:
        return
    own = book[client]
    more = {**book, client: Terms(own.max_debt_amt + by, own.rate_bps, own.lines)}
    [found] = reconcile(book, more)
    assert (found.kind, found.amount, lends_more([found])) == ("looser", by, True)
    [found] = reconcile(more, book)
    assert (found.kind, found.amount, lends_more([found])) == ("tighter", by, False)


@pytest.mark.parametrize(
    ("rate", "lines", "kind", "term"),
    [
        (590, LINES, "looser", "rate_bps"),
        (610, LINES, "tighter", "rate_bps"),
        (600, {**LINES, "call": 1_290_000}, "looser", "call_line"),
        (600, {"force": 1_150_000}, "tighter", "force_line"),
        (None, {}, None, None),
    ],
)
def test_rates_and_lines_count_too_where_the_counter_system_states_them(rate, lines, kind, term):
    decided = {"a": Terms(100, 600, LINES, 1_000_000)}
    found = reconcile(decided, {"a": Terms(100, rate, lines)})
    assert [(d.kind, d.term) for d in found] == ([] if kind is None else [(kind, term)])
    if term == "rate_bps":
        # ten basis points a year on 10,000.00
        assert found[0].amount == 1_000


@pytest.fixture
def published(tmp_path):
    root = tmp_path / "lake"
    where = make_lake(root)
    publish_run(root, where)
    table = pq.read_table(root / "runs/night-1/bucket=000/decisions.parquet", partitioning=None)
    rows = [
        {"client_id": c, "max_debt_amt": str(a), "rate_bps": str(r)}
        for c, a, r in zip(
            *(table[n].to_pylist() for n in ("client_id", "max_debt_amt", "rate_bps")), strict=True
        )
    ]
    return root, rows


def counter(tmp_path, rows):
    path = tmp_path / "counter.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_counter_system_that_follows_the_night_is_in_order(published, tmp_path, cli):
    root, rows = published
    ran = cli("reconcile", counter(tmp_path, rows), "--lake", root, "--json")
    assert ran.code == 0, ran.err
    assert ran.document["differences"] == []
    assert ran.document["decided"] == ran.document["enforced"] == len(rows)


def test_a_looser_limit_exits_1_with_client_and_money(published, tmp_path, cli):
    root, rows = published
    rows[3]["max_debt_amt"] = f"{float(rows[3]['max_debt_amt']) + 500:.2f}"
    ran = cli("reconcile", counter(tmp_path, rows), "--lake", root, "--json")
    assert ran.code == 1
    [found] = ran.document["differences"]
    assert (found["client_id"], found["kind"], found["amount_amt"]) == (
        rows[3]["client_id"], "looser", "500.00",
    )  # fmt: skip
    assert rows[3]["client_id"] in cli("reconcile", tmp_path / "counter.csv", "--lake", root).out


def test_a_client_nobody_decided_on_exits_1_and_a_missing_or_tighter_one_0(
    published, tmp_path, cli
):
    root, rows = published
    fewer = [{**r, "max_debt_amt": "0.00"} if k == 1 else r for k, r in enumerate(rows) if k]
    ran = cli("reconcile", counter(tmp_path, fewer), "--lake", root, "--json")
    assert ran.code == 0
    assert {d["kind"] for d in ran.document["differences"]} == {"missing", "tighter"}
    more = [*rows, {"client_id": "stranger", "max_debt_amt": "9.00", "rate_bps": "600"}]
    ran = cli("reconcile", counter(tmp_path, more), "--lake", root, "--json")
    assert ran.code == 1
    assert ran.document["by_kind"]["extra"] == {"count": 1, "amount_amt": "9.00"}


def test_an_override_in_force_is_what_the_counter_must_enforce(published, tmp_path, cli):
    root, rows = published
    body = {"client_id": "c00", "max_debt_amt": "1.00", "supersedes": "d", "proposal_id": "p",
            "content_sha256": "0" * 64}  # fmt: skip
    with Ledger.open(root / "ledger.sqlite") as ledger:
        ledger.append([{"kind": "override_in_force", "body": body}])
    ran = cli("reconcile", counter(tmp_path, rows), "--lake", root, "--json")
    assert ran.code == 1
    assert [d["client_id"] for d in ran.document["differences"]] == ["c00"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("client_id,cap\na,1\n", "no column max_debt_amt"),
        ("client_id,max_debt_amt,colour\na,1.00,red\n", "column colour"),
        ("client_id,max_debt_amt\na,1.00\na,1.00\n", "client a is there twice"),
        ("client_id,max_debt_amt\na,much\n", "line 2: max_debt_amt"),
        ("client_id,max_debt_amt,rate_bps\na,1.00,6.5\n", "whole basis points"),
        ("client_id,max_debt_amt\n,1.00\n", "client_id is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    published, tmp_path, cli, text, message
):
    root, _ = published
    (tmp_path / "counter.csv").write_text(text, "utf-8")
    ran = cli("reconcile", tmp_path / "counter.csv", "--lake", root)
    assert ran.code == 2
    assert message in ran.err
