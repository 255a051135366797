"""The generated suites run by Great Expectations itself, on tables of up to a million rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from data_contracts.quality.frames import MAX_ROWS, PLACE, Frames
from data_contracts.quality.results import HELPER, suite

os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ.setdefault("TQDM_DISABLE", "1")


def gx_suite(name: str, only: set[str] | None = None) -> Any:
    """The expectation suite of a table as a Great Expectations object."""
    import great_expectations as gx

    made = suite(name)
    chosen = [e for e in made["expectations"] if only is None or e["meta"]["rule"] in only]
    return gx.ExpectationSuite(name=made["name"], expectations=chosen, meta=made["meta"])


def run_suites(root: Path) -> dict[str, Any]:
    """Validation results by table; tables above ``MAX_ROWS`` rows are the pass's alone.

    Every failing expectation lists the file and position of each row in question.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    frames = Frames(root)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("lake")
    results = {}
    for name, raw in frames.raw.items():
        if len(raw) > MAX_ROWS:
            continue
        frame = frames.suite_frame(name)
        idle = {
            e["meta"]["rule"]
            for e in suite(name)["expectations"]
            if str(e["kwargs"].get("column", "")).startswith(HELPER)
            and e["kwargs"]["column"] not in frame
        }
        every = {e["meta"]["rule"] for e in suite(name)["expectations"]}
        batch = (
            source.add_dataframe_asset(name)
            .add_batch_definition_whole_dataframe("all")
            .get_batch(batch_parameters={"dataframe": frame})
        )
        results[name] = batch.validate(
            gx_suite(name, every - idle),
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": PLACE,
                "return_unexpected_index_query": False,
            },
        )
    return results


def rows_by_rule(result: Any) -> dict[str, set[tuple[str, int]]]:
    """File and position of each row that a validation result finds at fault, by rule."""
    found = {}
    for one in result.results:
        if one.exception_info.get("raised_exception"):
            raise RuntimeError(f"{one.expectation_config.type}: {one.exception_info}")
        rows = one.result.get("unexpected_index_list") or []
        rule = one.expectation_config.meta["rule"]
        found[rule] = {(row["_file"], int(row["_row"])) for row in rows}
    return found
