"""Rules as Great Expectations configurations, counts as its validation results: plain JSON.

Nothing here imports Great Expectations: a check of a lake must not pay for it.
"""

from __future__ import annotations

from typing import Any, Final

from data_contracts.quality.rules import Rule, all_rules, row_rule_name, rules_of
from data_contracts.row_rules import Bound, NotNull, OneOf, Ordered, row_rules
from data_contracts.tables import TABLES

HELPER: Final = "rule: "
"""Prefix of the column that states, for a rule between rows or tables, whether a row keeps it."""


def expectation(rule: Rule) -> dict[str, Any]:
    """The Great Expectations configuration of a rule: its type, arguments and meaning."""
    kind, arguments = _expectation(rule)
    return {
        "type": kind,
        "kwargs": arguments,
        "meta": {
            "rule": rule.name,
            "zh": rule.zh,
            "effect": rule.effect,
            "way_out": rule.way_out,
            "way_out_zh": rule.way_out_zh,
            "notes": {
                "format": "markdown",
                "content": [f"**{rule.name}** {rule.en} · {rule.zh}. {rule.way_out}"],
            },
        },
    }


def _expectation(rule: Rule) -> tuple[str, dict[str, Any]]:
    spec = TABLES[rule.table]
    if rule.kind == "row":
        found = next(r for r in row_rules(spec) if row_rule_name(spec, r) == rule.name)
        first = rule.columns[0]
        match found:
            case NotNull():
                return "expect_column_values_to_not_be_null", {"column": first}
            case OneOf(choices=choices):
                return "expect_column_values_to_be_in_set", {
                    "column": first,
                    "value_set": list(choices),
                }
            case Bound(sign=sign, bound=bound):
                side = "max_value" if sign == "<=" else "min_value"
                arguments: dict[str, Any] = {"column": first, side: bound}
                if sign == ">":
                    arguments["strict_min"] = True
                return "expect_column_values_to_be_between", arguments
            case Ordered(sign=sign, word=word):
                high, low = rule.columns[:2] if sign != "<=" else rule.columns[1::-1]
                arguments = {
                    "column_A": high,
                    "column_B": low,
                    "or_equal": sign != ">",
                    "ignore_row_if": "either_value_is_missing",
                }
                if word is not None:
                    arguments["row_condition"] = {
                        "type": "comparison",
                        "column": {"name": rule.columns[2]},
                        "operator": "==",
                        "parameter": word,
                    }
                return "expect_column_pair_values_a_to_be_greater_than_b", arguments
    if rule.kind == "clock":
        return "expect_column_pair_values_a_to_be_greater_than_b", {
            "column_A": "known_at",
            "column_B": "event_at",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        }
    return "expect_column_values_to_be_in_set", {
        "column": f"{HELPER}{rule.name}",
        "value_set": [True],
    }


def suite(name: str) -> dict[str, Any]:
    """The expectation suite of a table: one expectation a rule."""
    return {
        "name": name,
        "expectations": [expectation(rule) for rule in rules_of(name)],
        "meta": {"en": TABLES[name].en, "zh": TABLES[name].zh},
    }


def validation_results(
    checked: dict[str, int], by_rule: dict[str, int], examples: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """The counts of the pass as one validation result a table, in Great Expectations' JSON."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, rows in checked.items():
        rule = all_rules()[name]
        bad = by_rule.get(name, 0)
        tables.setdefault(rule.table, []).append(
            {
                "success": bad == 0,
                "expectation_config": expectation(rule),
                "result": {
                    "element_count": rows,
                    "unexpected_count": bad,
                    "unexpected_percent": 100 * bad / rows if rows else 0.0,
                    "partial_unexpected_list": examples.get(name, []),
                },
                "meta": {},
                "exception_info": {
                    "raised_exception": False,
                    "exception_message": None,
                    "exception_traceback": None,
                },
            }
        )
    return [_table_result(name, results) for name, results in tables.items()]


def _table_result(name: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    kept = sum(result["success"] for result in results)
    return {
        "success": kept == len(results),
        "suite_name": name,
        "suite_parameters": {},
        "results": results,
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": kept,
            "unsuccessful_expectations": len(results) - kept,
            "success_percent": 100 * kept / len(results),
        },
        "meta": {
            "checked_by": "gearline data check",
            "active_batch_definition": {"datasource_name": "lake", "data_asset_name": name},
        },
    }
