"""Life stories, written as a lake's rows and read back as labels, one test a story."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
import yaml

from data_contracts.lake import LakeInfo, create_lake, write_bucketed
from data_contracts.tables import TABLES
from data_contracts.units import NULL
from features.asof import BookHistory
from features.panel import PricePanel
from training.labels import (
    Cause,
    Cohort,
    Labels,
    Outcomes,
    call_within,
    cohort_of,
    default_within,
    forced_within,
    load_outcomes,
    noncure,
    relever_within,
)

CASES: Final[list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("label_cases.yaml").read_text("utf-8")
)
HEADS: Final[dict[str, Callable[[Outcomes, Cohort], Labels]]] = {
    "default_60": default_within,
    "call_20": call_within,
    "forced_60": forced_within,
    "relever_20": relever_within,
    "noncure": noncure,
}
SESSIONS: Final = 240
BEFORE: Final = ["t-120 opens an account with 1000", "t-100 borrows 500"]
LINE = re.compile(
    r"(?:account (?P<account>[AB]), )?(?P<day>t(?:[+-]\d+)?) (?P<what>.+?)"
    r"(?: at (?P<hour>\d\d):00)?(?:, known (?P<known>t(?:[+-]\d+)?))?"
)
EVENTS: Final = {
    "is warned": "warn",
    "cures": "cure",
    "crosses the immediate-close line": "default",
    "default is recorded": "default",
    "is sold out by force": "forced_sale",
    "has a shortfall": "shortfall",
}
DAYS: Final = np.busday_offset(np.datetime64("2014-01-06"), np.arange(SESSIONS + 30))


def session(text: str, t: int) -> int:
    return t + int(text[1:] or 0)


def looked_at(case: dict[str, Any]) -> int:
    """t of a case: all stories share one calendar, whose end is their data's end."""
    return SESSIONS - 1 - int(case.get("data_ends", "t+99")[1:])


def instant(session: int, hour: int) -> dt.datetime:
    day: dt.date = DAYS[session].item()
    return dt.datetime.combine(day, dt.time(hour - 8), tzinfo=dt.UTC)  # Shanghai


class Book:
    """Rows of the tables that labels and equity come from."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {
            n: []
            for n in ("clients", "accounts", "trades", "cash_flows", "contracts", "positions",
                      "balances", "margin_events")
        }  # fmt: skip

    def add(self, table: str, at: dt.datetime, known: dt.datetime, **values: object) -> None:
        row: dict[str, Any] = {c.name: None for c in TABLES[table].columns}
        self.rows[table].append(row | values | {"event_at": at, "known_at": max(at, known)})

    def live(self, case: dict[str, Any]) -> None:
        """The rows of one story."""
        t, client = looked_at(case), case["id"]
        story: list[str] = case.get("story", [])
        opens = [line for line in story if not line.startswith("account B")]
        if not opens or "opens" not in opens[0]:
            story = [*BEFORE, *story]
        self.add(
            "clients", instant(0, 15), instant(0, 15), client_id=client, pep=False, sanctioned=False,
            aml_level="low", related_group_id=case.get("group"), automated_decision_refused=False,
        )  # fmt: skip
        cash, debt, opened = (Counter[str]() for _ in range(3))
        for line in story:
            found = LINE.fullmatch(line)
            assert found, line
            name, s = found["account"] or "A", session(found["day"], t)
            account = f"{client}-{name}"
            at = instant(s, int(found["hour"] or 15))
            known = instant(session(found["known"], t), 16) if found["known"] else at
            who = {"account_id": account, "client_id": client}
            what, number = found["what"], int((re.findall(r" (\d+)\b", line) or ["0"])[0])
            if " opens " in line or " closes " in line:
                opened[name] = opened[name] or s
                cash[name] += number
                self.add(
                    "accounts", at, known, **who, market="XSHG", product="margin", currency="CNY",
                    opened_on=DAYS[opened[name]].item(),
                    closed_on=DAYS[s].item() if " closes " in line else None,
                )  # fmt: skip
            elif what.startswith("is called"):
                deadline = instant(session(what.split("deadline ")[1], t), 15)
                self.event(who, "call", at, known, deadline)
                continue
            elif what in EVENTS:
                self.event(who, EVENTS[what], at, known)
                continue
            elif what.split()[0] in ("loses", "withdraws", "deposits"):
                cash[name] += number if what.startswith("deposits") else -number
            else:
                assert what.split()[0] in ("borrows", "repays", "is"), line
                change = -number if what.startswith("repays") else number
                debt[name] += change
                cash[name] += 0 if what.startswith("is charged") else change
                self.add(
                    "contracts", at, known, **who, contract_id=account, kind="margin_loan",
                    opened_on=DAYS[opened[name]].item(), rollovers=0, rule_pack="cn",
                    principal_amt=100 * number, outstanding_amt=100 * debt[name], accrued_amt=0,
                    ratio_at_opening=1_000_000, rate_bps=700,
                )  # fmt: skip
                if what.startswith("is charged"):
                    self.add(
                        "cash_flows", at, known, **who, kind="interest", amount_amt=-100 * number
                    )
            self.add(
                "balances", at, known, **who, session=DAYS[s].item(), cash_amt=100 * cash[name],
                debt_amt=100 * debt[name], accrued_amt=0,
            )  # fmt: skip

    def event(
        self, who: dict[str, str], kind: str, at: dt.datetime, known: dt.datetime,
        deadline: dt.datetime | None = None,
    ) -> None:  # fmt: skip
        self.add("margin_events", at, known, **who, kind=kind, amount_amt=0, deadline_at=deadline)

    def write(self, root: Path) -> None:
        create_lake(root, LakeInfo(currency="CNY", mic="XSHG", buckets=2, source="stories"))
        for name, rows in self.rows.items():
            columns: dict[str, Any] = {}
            for c in TABLES[name].columns:
                values = [row[c.name] for row in rows]
                whole = pa.types.is_integer(c.arrow_type) or pa.types.is_decimal(c.arrow_type)
                columns[c.name] = (
                    np.array([NULL if v is None else v for v in values], dtype=np.int64)
                    if whole
                    else pa.array(values, type=c.arrow_type)
                )
            bucket = np.array([len(row["client_id"]) % 2 for row in rows], dtype=np.int64)
            write_bucketed(root, name, columns, bucket, 2)


def market() -> PricePanel:
    """One security, never held: the stories are told in cash. It trades on after the book's end."""
    sessions = len(DAYS)
    column, no = (sessions, 1), np.zeros((sessions, 1), dtype=bool)
    days = DAYS.astype("datetime64[us]")
    return PricePanel(
        mic="XSHG", currency="CNY", sessions=DAYS, close_at=days + np.timedelta64(7, "h"),
        symbols=("AAA",), close=np.full(column, 100_000), pre_close=np.full(column, NULL),
        volume_shares=np.full(column, NULL), suspended=no, price_limit=np.full(column, NULL),
        haircut=np.full(column, NULL), margin_eligible=~no, collateral_eligible=~no,
        special_treatment=no, board=("main",), index_close=np.full(sessions, NULL),
    )  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[BookHistory, Outcomes]:
    """All stories in one lake, each a client of its own."""
    root, panel, book = tmp_path_factory.mktemp("stories"), market(), Book()
    for case in CASES:
        book.live(case)
    book.live({"id": "last-balance", "story": ["t+99 opens an account with 1"]})
    book.write(root)
    return BookHistory.load(root, panel), load_outcomes(root, panel)


def answer(
    lake: tuple[BookHistory, Outcomes], client: str, head: str, t: int
) -> tuple[int, str, int]:
    """Label, cause and event session relative to t, of one client."""
    history, outcomes = lake
    book = history.as_of(DAYS[t].item())
    cohort, k = cohort_of(outcomes, book), book.client_ids.index(client)
    made = HEADS[head](outcomes, cohort)
    return int(made.label[k]), Cause(int(made.cause[k])).name, int(made.event_session[k])


def test_there_are_stories_enough_and_each_is_named_once() -> None:
    assert len(CASES) >= 25
    assert len({c["id"] for c in CASES}) == len(CASES)
    assert all(set(c["labels"]) == set(HEADS) - {"noncure"} and c["rule"] for c in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_the_story_has_its_labels(case: dict[str, Any], lake: tuple[BookHistory, Outcomes]) -> None:
    t, client, rule = looked_at(case), case["id"], case["rule"]
    for head, label in case["labels"].items():
        assert answer(lake, client, head, t)[0] == label, (head, rule)
    for day, label in case.get("noncure", {}).items():
        assert answer(lake, client, "noncure", session(day, t))[0] == label, (day, rule)
    for head, end in case.get("ends", {}).items():
        cause, day = end.split()
        at = session(list(case["noncure"])[-1], t) if head == "noncure" else t
        assert answer(lake, client, head, at)[1:] == (cause, session(day, t)), (head, rule)


@pytest.mark.parametrize(
    "case", [c for c in CASES if "features_at_t" in c], ids=lambda c: c["id"]
)  # fmt: skip
def test_the_features_of_t_do_not_know_what_was_booked_later(
    case: dict[str, Any], lake: tuple[BookHistory, Outcomes]
) -> None:
    book = lake[0].as_of(DAYS[looked_at(case)].item())
    k = book.client_ids.index(case["id"])
    seen = {"in_default": bool(book.in_default[k]), "called": not np.isnat(book.called_on[k])}
    assert case["features_at_t"].items() <= seen.items()


def test_the_data_end_with_the_book_and_not_with_the_market(
    lake: tuple[BookHistory, Outcomes],
) -> None:
    assert lake[1].sessions == SESSIONS < len(lake[0].panel.sessions)


def test_members_of_a_group_share_a_cluster_and_nobody_else_does(
    lake: tuple[BookHistory, Outcomes],
) -> None:
    outcomes = lake[1]
    of = dict(zip(outcomes.client_ids, outcomes.cluster.tolist(), strict=True))
    family = {c["id"] for c in CASES if c.get("group") == "family"}
    assert len({of[c] for c in family}) == 1
    assert len(set(of.values())) == len(of) - len(family) + 1


def test_a_client_whom_the_outcomes_do_not_have_is_censored(
    lake: tuple[BookHistory, Outcomes],
) -> None:
    stranger = Cohort(150, np.array([-1]), np.array([1000]))
    for head in HEADS.values():
        made = head(lake[1], stranger)
        assert (made.label.tolist(), made.cause.tolist()) == ([-1], [Cause.NO_ACCOUNT])
