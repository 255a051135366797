"""Data Docs open without a network, show every rule and what it found."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlparse

import pytest

from data_contracts.quality.rules import all_rules
from data_contracts.tables import TABLES

pytest.importorskip("great_expectations")
BAD = 117
LOADS = {"src", "href", "srcset", "data", "poster", "action", "background"}


class _References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in LOADS]


@pytest.fixture(scope="module")
def docs(tmp_path_factory, good_rows, consistent_rows, as_table):
    """The Data Docs of a lake with two broken rules."""
    import pyarrow.parquet as pq

    from data_contracts.lake import LakeInfo, create_lake
    from data_contracts.quality.data_docs import write_data_docs

    root = tmp_path_factory.mktemp("docs") / "lake"
    create_lake(root, LakeInfo("USD", "XNYS", 2, "test"))
    tables = consistent_rows()
    tables["bars"][BAD]["close"] = None
    tables["balances"][BAD]["cash_amt"] += 1
    for name, rows in tables.items():
        folder = root / name / ("bucket=000" if TABLES[name].bucketed else "")
        folder.mkdir(parents=True)
        pq.write_table(as_table(TABLES[name], rows), folder / "part-0.parquet")
    return write_data_docs(root, root.parent / "out")


@pytest.mark.long
def test_the_pages_load_nothing_from_elsewhere_and_every_link_leads_to_a_file(docs):
    pages = sorted(docs.index.parent.glob("index.html")) + sorted(
        (docs.index.parent / "site").rglob("*.html")
    )
    assert len(pages) > 2 * len(TABLES)
    for page in pages:
        text = page.read_text("utf-8")
        read = _References()
        read.feed(text)
        assert not read.tags & {"script", "link", "iframe", "object", "embed"}, page
        assert not re.search(r"url\(|@import", text), page
        assert not re.search(r"(https?:)?//[\w-]+\.[\w.-]+/", text), page
        for reference in read.found:
            there = urlparse(reference)
            assert not there.scheme, (page, reference)
            assert not there.netloc, (page, reference)
            if there.path and page.name == "index.html" and page.parent == docs.index.parent:
                assert (page.parent / unquote(there.path)).is_file(), (page, reference)


@pytest.mark.long
def test_the_first_page_names_every_rule_in_both_languages_and_counts_the_broken(docs):
    text = docs.index.read_text("utf-8")
    for name, rule in all_rules().items():
        assert f"<code>{name}</code>" in text
        assert rule.zh.replace(">", "&gt;").replace("<", "&lt;") in text
    broken = re.findall(r"class=broken><td><code>([\w.]+)<", text)
    assert broken == ["balances.cash_reconciles", "bars.close_not_null"]
    assert (docs.tables, docs.rules, docs.failed) == (len(TABLES), len(all_rules()), 2)


@pytest.mark.long
def test_the_result_pages_show_the_counts_of_the_pass(docs):
    [page] = (docs.index.parent / "site" / "validations" / "balances").rglob("balances.html")
    text = re.sub(r"\s+", " ", page.read_text("utf-8"))
    assert "balances.cash_reconciles" in text
    assert "✗" in text
    assert "✓" in text


@pytest.mark.long
def test_great_expectations_opens_the_project_with_a_suite_for_each_table(docs):
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=str(docs.index.parent))
    assert {suite.name for suite in context.suites.all()} == set(TABLES)


@pytest.mark.long
def test_writing_the_docs_again_replaces_them(docs):
    from data_contracts.quality.data_docs import write_data_docs

    again = write_data_docs(docs.index.parent.parent / "lake", docs.index.parent)
    assert again.rules == docs.rules
