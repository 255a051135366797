"""One declaration of a table gives its Arrow schema, its DDL and its page."""

import json
import re
from pathlib import Path

import duckdb
import pytest

from data_contracts.columns import Comparison
from data_contracts.documentation import contracts_markdown, ddl_script, tables_markdown
from data_contracts.quality.rules import rules_of
from data_contracts.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
FROZEN = Path(__file__).parent / "frozen_tables.json"


def declared() -> dict[str, object]:
    """What a lake on disk depends on."""
    return {
        name: {
            "key": list(spec.key),
            "event": spec.event,
            "bucketed": spec.bucketed,
            "columns": [
                f"{c.name}: {c.arrow_type}{', nullable' if c.nullable else ''}"
                for c in spec.columns
            ],
        }
        for name, spec in TABLES.items()
    }


def test_the_tables_are_the_frozen_ones():
    frozen, now = json.loads(FROZEN.read_text()), declared()
    changed = sorted(name for name in {*frozen, *now} if frozen.get(name) != now.get(name))
    assert not changed, (
        f"the schema of {', '.join(changed)} changed: lakes in use need a migration and LAKE_FORMAT"
        f" a new number; write both, then store declared() of this test in {FROZEN.name}"
    )


def test_the_page_of_the_tables_is_the_generated_one():
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page == tables_markdown(), "write tables_markdown() to docs/tables.md"


def test_the_page_of_the_rules_is_the_generated_one():
    page = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    assert page == contracts_markdown(), "write contracts_markdown() to docs/contracts.md"


def test_every_rule_has_a_name_of_its_own_both_texts_and_a_way_out():
    names = [rule.name for name in TABLES for rule in rules_of(name)]
    assert len(names) == len(set(names))
    for name in TABLES:
        for rule in rules_of(name):
            assert re.fullmatch(r"[a-z_]+\.[a-z0-9_]+", rule.name)
            assert rule.name.startswith(f"{rule.table}.")
            assert all((rule.en, rule.zh, rule.way_out, rule.way_out_zh))
            assert set(rule.columns) <= {c.name for c in TABLES[name].columns}
            assert set(rule.needs) <= set(TABLES)


def test_a_reference_names_a_table_with_that_column():
    for spec in TABLES.values():
        for column in spec.columns:
            if column.references is not None:
                assert TABLES[column.references].column(column.name).kind == column.kind


def test_the_page_names_every_column_with_its_meaning_in_both_languages():
    page = tables_markdown()
    for spec in TABLES.values():
        section = page.split(f"\n## {spec.name}\n")[1].split("\n## ")[0]
        for column in spec.columns:
            (line,) = [x for x in section.splitlines() if x.startswith(f"| `{column.name}` |")]
            assert line.endswith(f"| {column.en} | {column.zh} |")


def test_the_ddl_makes_every_table_in_duckdb_with_the_declared_columns():
    with duckdb.connect() as connection:
        connection.execute(ddl_script())
        for name, spec in TABLES.items():
            described = connection.execute(f"DESCRIBE {name}").fetchall()
            assert [(d[0], d[2] == "YES") for d in described] == [
                (c.name, c.nullable) for c in spec.columns
            ]


def test_duckdb_takes_good_rows_and_refuses_a_row_that_breaks_a_declared_rule(good_rows, as_table):
    with duckdb.connect() as connection:
        connection.execute(ddl_script())
        for spec in TABLES.values():
            connection.register("given", as_table(spec, good_rows(spec, 5)))
            connection.execute(f"INSERT INTO {spec.name} SELECT * FROM given")
        spec = TABLES["contracts"]
        rows = good_rows(spec, 1)
        rows[0] |= {"contract_id": "new", "kind": "financing", "outstanding_amt": 2}
        connection.register("given", as_table(spec, rows))
        with pytest.raises(duckdb.ConstraintException, match="CHECK"):
            connection.execute("INSERT INTO contracts SELECT * FROM given")


def test_keys_events_and_rules_name_columns_of_their_table():
    for spec in TABLES.values():
        names = {c.name for c in spec.columns}
        assert names >= {*spec.key, spec.event, "event_at", "known_at"}, spec.name
        for rule in spec.comparisons:
            assert names >= {rule.left, *([rule.right] if isinstance(rule.right, str) else [])}


@pytest.mark.parametrize(
    "text", ["close > 0", "high >= low", "outstanding_amt <= principal_amt if kind = financing"]
)
def test_a_rule_between_columns_reads_back_as_it_is_written(text):
    assert str(Comparison.parse(text)) == text
