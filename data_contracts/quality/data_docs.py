"""Data Docs of a lake: the check's counts as Great Expectations pages that open without a network.

The pages that Great Expectations writes load styles, fonts and scripts from public servers. Here
every such reference is taken out, the scripts that need them go too, and a small style sheet beside
the pages takes their place.
"""

from __future__ import annotations

import datetime as dt
import html
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.errors import InputError
from data_contracts.lake import QUARANTINE, check_output_folder
from data_contracts.quality.rules import all_rules
from data_contracts.tables import TABLES

SITE: Final = "site"
_PROJECT: Final = "gx"
_STYLE: Final = """\
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:1rem;color:#222}
a{color:#0b5394}table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;vertical-align:top}
.alert,.card{border:1px solid #ccc;background:#f4f6f8;padding:.5rem;margin:.5rem 0}
.nav,.breadcrumb{list-style:none;padding:0}.breadcrumb li{display:inline;margin-right:.5rem}
.badge{border:1px solid #999;border-radius:.3rem;padding:0 .3rem}.btn,.modal,.top{display:none}
.text-success{color:#1a7f37}.text-danger{color:#b00020}.broken{color:#b00020}
@media(prefers-color-scheme:dark){body{background:#181a1b;color:#ddd}a{color:#8ab4f8}
.alert,.card{background:#23272a}}
"""
_MARKS: Final = (("check-circle", "✓"), ("times", "✗"), ("exclamation", "!"))


@dataclass(frozen=True)
class DataDocs:
    """What was written: tables, rules and broken rules, and the page to open."""

    tables: int
    rules: int
    failed: int
    index: Path


def write_data_docs(
    root: Path,
    out: Path,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> DataDocs:
    """Check the lake and write its Data Docs, with the Great Expectations project behind them.

    ``OUT/index.html`` opens in a browser without a network; ``OUT/gx`` is a project that
    ``great_expectations.get_context(project_root_dir=OUT)`` opens.
    """
    from data_contracts.checks import VALIDATION_FILE, check_lake

    check_output_folder(out, "index.html", "gearline data docs")
    check_lake(root, threads=threads, progress=progress)
    results = orjson.loads((root / QUARANTINE / VALIDATION_FILE).read_bytes())
    pages = _build(results, out)
    for page in sorted((out / SITE).rglob("*.html")):
        page.write_text(_offline(page.read_text("utf-8")), "utf-8")
    index = out / "index.html"
    index.write_text(_index(root, results, pages), "utf-8")
    rules = [rule for result in results for rule in result["results"]]
    failed = sum(not rule["success"] for rule in rules)
    return DataDocs(len(results), len(rules), failed, index)


def _build(results: list[dict[str, Any]], out: Path) -> dict[str, tuple[str, str]]:
    """Store suites and results in a project, build its site; the pages of each table."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    try:
        import great_expectations as gx
    except ImportError:
        raise InputError(
            "Data Docs need the extra 'quality': pip install 'gearline[quality]'"
        ) from None
    from great_expectations.core.expectation_validation_result import (
        expectationSuiteValidationResultSchema,
    )
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    from data_contracts.quality.suites import gx_suite

    context: Any = gx.get_context(mode="file", project_root_dir=str(out))
    context.variables.data_docs_sites = {
        "local_site": {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str((out / SITE).resolve()),
            },
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
    }
    now = dt.datetime.now(dt.UTC)
    identifiers = []
    for result in results:
        name = result["suite_name"]
        context.suites.add_or_update(gx_suite(name))
        identifiers.append(
            ValidationResultIdentifier(
                expectation_suite_identifier=ExpectationSuiteIdentifier(name),
                run_id=RunIdentifier(run_name="check", run_time=now),
                batch_identifier=name,
            )
        )
        loaded = expectationSuiteValidationResultSchema.load(result)
        context.validation_results_store.add(identifiers[-1], loaded)
    context.build_data_docs()
    pages = {}
    for result in results:
        name = result["suite_name"]
        [validation] = (out / SITE / "validations" / name).rglob(
            f"{now:%Y%m%dT%H%M%S}.{now:%f}Z/{name}.html"
        )
        suite_page = out / SITE / "expectations" / f"{name}.html"
        pages[name] = (
            validation.relative_to(out).as_posix(),
            suite_page.relative_to(out).as_posix(),
        )
    return pages


def _offline(page: str) -> str:
    """The page without anything that would be fetched from elsewhere, and with our own style."""
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"<footer\b.*?</footer>", "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"<link\b[^>]*>", "", page, flags=re.IGNORECASE)
    page = re.sub(r"<style\b.*?</style>", "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"<img\b[^>]*>", "Data Docs", page, flags=re.IGNORECASE)
    page = re.sub(r"<a\b[^>]*href=\"(?:https?:)?//[^>]*>(.*?)</a>", r"\1", page, flags=re.DOTALL)
    page = re.sub(r"\son\w+=\"[^\"]*\"", "", page)
    for word, mark in _MARKS:
        page = re.sub(rf"<i\b([^>]*fa-{word}[^>]*)>\s*</i>", rf"<span\1>{mark}</span>", page)
    return page.replace("</head>", f"<style>\n{_STYLE}</style>\n</head>", 1)


def _index(root: Path, results: list[dict[str, Any]], pages: dict[str, tuple[str, str]]) -> str:
    """A page of every rule by table, with its count, in English and Chinese."""
    parts = []
    for result in results:
        name = result["suite_name"]
        validation, suite_page = pages[name]
        spec = TABLES[name]
        parts.append(
            f'<h2 id="{name}">{name}</h2><p>{_text(spec.en)} · {_text(spec.zh)} ·'
            f' <a href="{validation}">results</a> · <a href="{suite_page}">suite</a></p>'
            "<table><tr><th>rule</th><th>what holds · 规则</th><th>rows</th><th>bad</th></tr>"
        )
        for one in result["results"]:
            rule = all_rules()[one["expectation_config"]["meta"]["rule"]]
            bad = one["result"]["unexpected_count"]
            told = f"<br>{_text(rule.way_out)} · {_text(rule.way_out_zh)}" if bad else ""
            parts.append(
                f"<tr{' class=broken' if bad else ''}><td><code>{rule.name}</code></td>"
                f"<td>{_text(rule.en)} · {_text(rule.zh)}{told}</td>"
                f"<td>{one['result']['element_count']:,}</td><td>{bad:,}</td></tr>"
            )
        parts.append("</table>")
    title = f"Data Docs of {_text(root.name)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>\n{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _text(words: str) -> str:
    return html.escape(words)
