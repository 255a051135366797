"""Great Expectations runs the generated suites and finds the same rows as the pass, by rule."""

import importlib.util
import sys
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from data_contracts.checks import check_lake
from data_contracts.quality.results import suite
from data_contracts.quality.rules import all_rules, rules_of
from data_contracts.tables import TABLES

pytest.importorskip("great_expectations")
_SPEC = importlib.util.spec_from_file_location("faults", Path(__file__).with_name("faults.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
faults = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(faults)

SETS = 12
"""Faults are planted in so many lakes, each with every twelfth rule."""


def pass_rows(lake):
    """File and position of each row in quarantine, by rule."""
    found: dict[str, set[tuple[str, int]]] = {name: set() for name in all_rules()}
    for path in (lake / "quarantine").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            found[row["rule"]].add((row["file"], row["row"]))
    return found


def gx_rows(lake):
    """The same from Great Expectations."""
    from data_contracts.quality.suites import rows_by_rule, run_suites

    found: dict[str, set[tuple[str, int]]] = {}
    for result in run_suites(lake).values():
        found |= rows_by_rule(result)
    return found


@pytest.mark.long
@pytest.mark.parametrize("part", range(SETS))
def test_great_expectations_and_the_pass_find_the_same_rows_for_every_rule(
    consistent_rows, write_rows, part
):
    tables = consistent_rows()
    planted = list(all_rules())[part::SETS]
    for name in planted:
        faults.plant_fault(all_rules()[name], tables)
    lake = write_rows(tables)
    report = check_lake(lake)
    assert pass_rows(lake) == gx_rows(lake)
    assert report.by_rule
    assert set(report.checked) == set(all_rules())


@pytest.mark.long
def test_great_expectations_finds_nothing_where_nothing_is_wrong(consistent_rows, write_rows):
    lake = write_rows(consistent_rows())
    assert gx_rows(lake) == {name: set() for name in all_rules()}


def test_every_rule_is_one_expectation_of_its_table():
    for name in TABLES:
        made = suite(name)
        assert [e["meta"]["rule"] for e in made["expectations"]] == [
            rule.name for rule in rules_of(name)
        ]
        for e in made["expectations"]:
            assert e["meta"]["zh"]
            assert e["meta"]["way_out"]


def test_the_counts_of_the_pass_are_a_validation_result_that_great_expectations_reads(
    consistent_rows, write_rows
):
    from great_expectations.core.expectation_validation_result import (
        expectationSuiteValidationResultSchema,
    )

    tables = consistent_rows()
    faults.plant_fault(all_rules()["bars.close_not_null"], tables)
    lake = write_rows(tables)
    check_lake(lake)
    stored = orjson.loads((lake / "quarantine" / "validation.json").read_bytes())
    read = {r["suite_name"]: expectationSuiteValidationResultSchema.load(r) for r in stored}
    assert set(read) == set(TABLES)
    assert [name for name, result in read.items() if not result.success] == ["bars"]
    [failed] = [r for r in read["bars"].results if not r.success]
    assert failed.expectation_config.meta["rule"] == "bars.close_not_null"
    assert failed.result["unexpected_count"] == 1


def test_checking_a_lake_does_not_import_great_expectations_or_pandas():
    import subprocess

    code = (
        "import sys, data_contracts.checks, data_contracts.commands;"
        " print([m for m in ('great_expectations', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
