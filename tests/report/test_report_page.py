"""The summary page: offline, in two languages, escaped, with undefined figures as dashes."""

import copy
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE
from models.margin.cap import CAP_TERMS
from models.price.rate import RATE_COMPONENTS
from training.report import write_report

NAMES = {
    "leverage_ratio": ("Leverage", "杠杆倍数"),
    "largest_weight_ratio": ("Largest position", "第一大持仓占比"),
    "calls_250_sessions": ("Margin calls in a year", "一年内追保次数"),
}
TIER = {
    "clients": 400,
    "decisions": 900,
    "labelled": 880,
    "defaults": 0,
    "predicted_pd": 0.00234,
    "predicted_over_horizon": 0.00234,
    "realised_rate": 0.0,
    "mean_cap_amt": 123456.7,
    "mean_cap": 1.61,
    "mean_rate_bps": 301.2,
    "mean_expected_loss_capital_bps": 3.4,
}
SUMMARY = {
    "headline": "Simulated 700 clients on daily closes.",
    "headline_zh": "以日收盘价模拟 700 名客户。",
    "policy": "us",
    "pack_title": {"en": "United States, Regulation T", "zh": "美国 T 条例"},
    "currency": "USD",
    "market": "sample",
    "clients": 700,
    "sessions": {"first": "2006-01-03", "last": "2022-12-30"},
    "decisions": 1800,
    "decisions_sha256": "ab" * 32,
    "seconds_by_stage": {"train": 3.21},
    "auc_default_60_out_of_time": 0.8432,
    "somers_d": 0.61,
    "somers_d_low": 0.55,
    "somers_d_high": 0.67,
    "horizon_sessions": 250,
    "split": "out-of-time",
    "tiers": [
        {"tier": "1", **TIER},
        {"tier": "D", **dict.fromkeys(TIER), "clients": 3, "decisions": 3},
    ],
    "binding_constraints": {term: 10 * k for k, term in enumerate(CAP_TERMS)},
    "outcomes": {"approve": 1500, "refer": 100, "decline": 200},
    "referred": 100,
    "warnings": [{"en": "Clients are simulated.", "zh": "客户为模拟。"}],
    "next_commands": [
        {"command": "gearline ledger verify", "en": "Check the record", "zh": "核对记录"}
    ],
    "training": {"trees": 120, "market_years": 8, "auc_calibration_clients": None},
    "out": "out/demo",
}
ATTRIBUTIONS = [LOG_ODDS_ONE // 2, -LOG_ODDS_ONE // 5, 12345]
BASE = -5 * LOG_ODDS_ONE
BODY = {
    "decision_id": "b5cdfc0d-c271-8b11-b40e-9da195d4972c",
    "request": {"kind": "nightly", "key": "run", "requested_debt_amt": None},
    "client_id": "C1",
    "currency": "USD",
    "as_of": "2020-03-20",
    "effective_on": "2020-03-23",
    "outcome": "refer",
    "provisional": False,
    "tier": "4",
    "score": BASE + sum(ATTRIBUTIONS),
    "pd": {"value": 8_800_000, "low": 4_000_000, "high": 12_700_000},
    "debt_amt": "44700.10",
    "equity_amt": "160775.90",
    "max_debt_amt": "90000.00",
    "max_leverage_milli": 1559,
    "cap_waterfall": [
        {"term": "statutory", "limit_amt": "160000.00", "removed_amt": "0.00"},
        *(
            {
                "term": term,
                "limit_amt": None if term == "override" else "90000.00",
                "removed_amt": "70000.00" if term == "line" else "0.00",
            }
            for term in CAP_TERMS[1:]
        ),
    ],
    "binding": "line",
    "rate_bps": 290,
    "rate_waterfall": [
        {"component": name, "bps": bps}
        for name, bps in zip(RATE_COMPONENTS, (150, 60, 7, 4, 15, 6, 60, 0, -12, 0), strict=True)
    ],
    "lines": {"observe": 1_600_000, "warn": 1_450_000, "call": 1_350_000, "force": 1_300_000},
    "maintenance_ratio": 1_500_000,
    "distances": {"observe": -66_666, "warn": 33_333, "call": 100_000, "force": 133_333},
    "reasons": [
        {"code": "bound_line", "args": {"gap": "31.0"}},
        {
            "code": "factor_leverage",
            "args": {"feature": "leverage_ratio", "value": 1_750_000, "attribution": 1},
        },
        {"code": "gate_sanctioned", "args": {}},
    ],
    "attributions": {"base": BASE, "values": ATTRIBUTIONS},
    "hashes": {"bundle": "cd" * 32, "policy": "ef" * 32},
}
DECISIONS = pa.table(
    {
        "tier": pa.array(["1", "3", "7", "D"]).dictionary_encode(),
        "max_leverage_milli": pa.array([2000, 1500, 1000, None], pa.int64()),
        "rate_bps": pa.array([276, 300, 420, 800], pa.int64()),
    }
)
VOID = {"meta", "br", "hr", "img", "input", "link"}


@dataclass
class Node:
    """An element of the page."""

    tag: str
    attributes: dict[str, str | None]
    parent: "Node | None"
    children: list["Node | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def walk(self):
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def above(self):
        node: Node | None = self
        while node:
            yield node
            node = node.parent


class Tree(HTMLParser):
    """Builds the tree of a page; refuses tags that do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.at = self.root = Node("", {}, None)
        self.feed(page)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is never closed"

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs), self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag, attrs):
        self.at.children.append(Node(tag, dict(attrs), self.at))

    def handle_endtag(self, tag):
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)


def made(out, summary=SUMMARY, body=BODY, names=NAMES, decisions=DECISIONS):
    return write_report(out, summary, decisions, body, names).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return made(tmp_path_factory.mktemp("report"))


def test_every_tag_closes_in_order_and_every_picture_is_xml_with_title_and_description(page):
    Tree(page)
    pictures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(pictures) == 2 * (4 + 3)
    for picture in pictures:
        children = [e.tag.rpartition("}")[2] for e in ET.fromstring(picture)]
        assert children[:2] == ["title", "desc"]


def test_identifiers_are_unique_and_what_names_a_picture_exists(page):
    nodes = list(Tree(page).root.walk())
    ids = [n.attributes["id"] for n in nodes if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    for node in nodes:
        for name in (node.attributes.get("aria-labelledby") or "").split():
            assert name in ids


def test_nothing_is_fetched(page):
    assert set(re.findall(r"https?://[^\s\"'<>]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href|srcset)=|url\(|@import", page)
    assert "default-src 'none'" in page


def test_the_first_line_says_what_ran(page):
    body = page[page.index("<body>") :]
    text = re.sub(r"<[^>]+>", " ", body).split()
    assert " ".join(text).startswith("Simulated 700 clients on daily closes.")


def test_every_text_stands_in_both_languages_side_by_side(page):
    nodes = list(Tree(page).root.walk())
    for node in nodes:
        if node.tag in ("html", "svg", "button") or "lang" not in node.attributes:
            continue
        assert node.parent is not None
        pair = [c for c in node.parent.children if isinstance(c, Node) and "lang" in c.attributes]
        assert [c.attributes["lang"] for c in pair] == ["en", "zh"] * (len(pair) // 2)
        assert all(c.text.strip() for c in pair)
        assert pair[0].tag == pair[1].tag


def test_no_words_stand_outside_a_language_but_names_codes_and_currency(page):
    free = ("code", "style", "script", "title", "button")
    for node in Tree(page).root.walk():
        above = list(node.above())
        if any(a.tag in free or "translate" in a.attributes for a in above):
            continue
        if any(a.attributes.get("lang") and a.tag != "html" for a in above):
            continue
        text = " ".join(c for c in node.children if isinstance(c, str)).replace("USD", "")
        assert not re.search(r"[A-Za-z]{2,}|[一-鿿]", text.replace("DOCTYPE html", "")), text


def test_the_english_texts_hold_no_chinese_but_their_twins_do_only_where_named(page):
    for node in Tree(page).root.walk():
        if node.attributes.get("lang") == "en" and node.tag not in ("html", "button"):
            assert not re.search("[一-鿿]", node.text), node.text


def test_hostile_strings_are_shown_not_run(tmp_path):
    evil = "<script>alert(1)</script>\" onload='x' \x00\x0b]]>&"
    summary = copy.deepcopy(SUMMARY)
    summary |= {"headline": evil, "headline_zh": evil, "market": evil, "policy": evil, "out": evil}
    summary["warnings"] = [{"en": evil, "zh": evil}]
    summary["next_commands"] = [{"command": evil, "en": evil, "zh": evil}]
    summary["binding_constraints"] = {evil: 3}
    body = copy.deepcopy(BODY)
    body |= {"client_id": evil, "currency": evil, "outcome": evil, "decision_id": evil}
    text = made(tmp_path, summary, body, dict.fromkeys(NAMES, (evil, evil)))
    assert text.count("<script>") == 1
    assert "\x00" not in text
    root = Tree(text).root
    assert not any(a.startswith("on") for n in root.walk() for a in n.attributes)
    for picture in [*re.findall(r"<svg.*?</svg>", text, re.S)]:
        ET.fromstring(picture)
    for file in tmp_path.glob("*.svg"):
        ET.parse(file)


def test_undefined_figures_are_dashes_never_zero(tmp_path):
    empty = dict.fromkeys(SUMMARY) | {k: SUMMARY[k] for k in ("headline", "headline_zh", "tiers")}
    body = copy.deepcopy(BODY)
    body |= {"maintenance_ratio": None, "max_leverage_milli": None}
    body["distances"] = dict.fromkeys(("observe", "warn", "call", "force"))
    root = Tree(made(tmp_path, empty, body, decisions=DECISIONS.slice(0, 0))).root
    figures = [n.text for n in root.walk() if n.attributes.get("class") == "figure"]
    assert figures == ["–"] * 6
    row = next(n for n in root.walk() if n.tag == "tr" and n.text.startswith("D3"))
    assert row.text == "D3" + "–" * 9
    lines = [n.text for n in root.walk() if n.tag == "tr" and "Call line" in n.text]
    assert lines == [
        "Call line追保线135 %–The client must add collateral or repay.客户须追加担保物或还款。"
    ]


def test_a_realised_rate_of_zero_is_drawn_below_the_scale_and_an_undefined_one_is_a_dash(page):
    picture = ET.fromstring(next(re.finditer(r'<svg[^>]*"tiers-en-title.*?</svg>', page, re.S))[0])
    marks = {
        (e.get("data-tier"), e.get("data-kind"))
        for e in picture.iter()
        if e.get("data-kind") is not None
    }
    assert marks == {("1", "predicted_over_horizon"), ("1", "realised_rate")}
    assert sum(e.text == "–" for e in picture.iter()) == 2


def test_the_client_reads_no_reason_of_staff_or_compliance(page):
    assert "keeps one sharp fall" in page
    assert "Borrowing is high against assets (Leverage)." in page
    assert "1.75 x" in page
    assert "1.75 倍" in page
    assert "sanctions" not in page
    assert "left out here: 1." in page


def test_a_line_already_crossed_is_said_to_be(page):
    assert "reached already" in page
    assert "a fall of 10.0 %" in page


def test_the_command_names_the_decision_and_its_folder(page):
    assert f"gearline replay {BODY['decision_id']} --lake out/demo" in page


def test_a_split_by_client_is_not_called_out_of_time(tmp_path):
    text = made(tmp_path, {**SUMMARY, "split": "by-client"})
    assert "AUC, out of time" not in text
    assert "Not out of time" in text


def test_names_of_another_feature_set_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 attributions for 2 features"):
        made(tmp_path, names=dict(list(NAMES.items())[:2]))


def test_the_same_figures_give_the_same_bytes(page, tmp_path):
    assert made(tmp_path) == page
