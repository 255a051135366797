"""``gearline validate report | table | diff``: from material to a signed document and its pages."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.lake import check_output_folder
from data_contracts.units import parse_day
from models.bundle import Bundle
from training.validation.closing import closing
from training.validation.document import FORMAT, SEVERITIES, overall_grade, plain
from training.validation.material import Material
from training.validation.sections import SECTIONS
from training.validation.signing import REPORT, load_key, read_signed, write_signed
from training.validation.vectors import self_test

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1
DEFAULT_KEY: Final = Path("~/.config/gearline/validation.key")
_IDENTITY: Final = ("name", "purpose", "target", "kind", "owner", "exposure", "materiality", "model_sha256", "data_sha256")  # fmt: skip


def build_document(material: Material, stages: Stages | None = None) -> dict[str, Any]:
    """The report as plain data: the same material gives the same document, byte for byte."""
    sections = []
    for k, make in enumerate(SECTIONS):
        sections.append(make(material))
        if stages:
            stages("sections", k + 1, len(SECTIONS))
    findings = [f for s in sections for f in s.findings]
    findings.sort(key=lambda f: (-f.severity, f.rule, f.text.en))
    check = self_test()
    grade = overall_grade([f.severity for f in findings])
    return {
        "kind": "gearline validation report",
        "format": FORMAT,
        "as_of": material.as_of,
        "subject": {k: plain(material.subject.get(k)) for k in _IDENTITY},
        "grade": grade,
        "grade_text": plain(SEVERITIES[grade]),
        "self_test": {"checked": check.checked, "failed": check.failed},
        "findings": [f.as_dict(material.as_of) for f in findings],
        "sections": [s.as_dict() for s in sections],
        **closing(),
    }


def _write(
    arguments: argparse.Namespace, material: Material, stages: Stages
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    from training.validation.render import write_pages

    document = build_document(material, stages)
    arguments.out.mkdir(parents=True, exist_ok=True)
    seal = write_signed(arguments.out, document, load_key(arguments.key.expanduser()))
    stages("pages", 0, 1)
    pages, notes = write_pages(arguments.out, document, seal)
    stages("pages", 1, 1)
    severities = [f["severity"] for f in document["findings"]]
    answer = {
        "grade": document["grade"],
        "findings": {str(s): severities.count(s) for s in (2, 3, 4)},
        "sections": len(document["sections"]),
        "not_applicable": [s["key"] for s in document["sections"] if not s["applies"]],
        "self_test": document["self_test"],
        "report_sha256": seal["report_sha256"],
        "key_id": seal["key_id"],
        "files": [REPORT, "report.sig.json", *pages],
        "notes": notes,
        "out": str(arguments.out),
    }
    return document, answer, notes


def _answer(arguments: argparse.Namespace, material: Material, stages: Stages) -> Answer:
    document, answer, notes = _write(arguments, material, stages)
    lines = [
        f"grade {document['grade']} ({document['grade_text']['en']}), {len(document['findings'])} findings"
    ]
    lines += [
        f"  {f['severity']} {f['rule']}: {f['text']['en']} (due {f['due']}, {f['owner_text']['en']})"
        for f in document["findings"]
    ]
    if answer["not_applicable"]:
        lines.append(f"not applicable: {', '.join(answer['not_applicable'])}; the report says why")
    lines += [f"note: {n}" for n in notes]
    lines.append(
        f"signed {answer['report_sha256'][:16]} by key {answer['key_id']}; open {arguments.out}/report.en.html"
    )
    return (FOUND if document["findings"] else DONE), answer, "\n".join(lines)


def _prepared(arguments: argparse.Namespace) -> None:
    check_output_folder(arguments.out, REPORT, "`gearline validate`")
    # the one place where the date is taken from the clock
    arguments.on = (
        parse_day(arguments.on, "--on") if arguments.on else dt.date.today()
    ).isoformat()
    if arguments.key is None:
        arguments.key = DEFAULT_KEY


def run_report(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``validate report``."""
    from training.validation.of_lake import material_of_lake

    _prepared(arguments)
    code, document, text = _answer(arguments, material_of_lake(arguments, stages), stages)
    if arguments.mlflow is not None:
        from training.registry import log_report

        stages("mlflow", 0, 1)
        bundle = Bundle.read(arguments.bundle).sha256
        document["mlflow_run"] = log_report(
            arguments.mlflow, arguments.bundle, bundle, arguments.out
        )
        stages("mlflow", 1, 1)
    return code, document, text


def run_table(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``validate table``."""
    from training.validation.of_table import material_of_table

    _prepared(arguments)
    return _answer(arguments, material_of_table(arguments, stages), stages)


def _numbers(document: Mapping[str, Any]) -> dict[str, tuple[Any, float]]:
    """Every number of a report by its place, with its tolerance."""
    found: dict[str, tuple[Any, float]] = {"grade": (document["grade"], 0.0)}
    for section in document["sections"]:
        for f in section["figures"]:
            at = f"{section['key']}.{f['key']}"
            found[at] = (f["value"], f["tolerance"])
            for part in ("low", "high"):
                found[f"{at}.{part}"] = (f[part], f["tolerance"])
            if f["test"] is not None:
                found[f"{at}.p"] = (f["test"]["p_value"], f["tolerance"])
        for t in section["tables"]:
            for k, row in enumerate(t["rows"]):
                for c, value in zip(t["columns"], row, strict=True):
                    if not isinstance(value, dict):
                        found[f"{section['key']}.{t['key']}[{k}].{c['key']}"] = (
                            value,
                            t["tolerance"],
                        )
    for f in document["findings"]:
        found[f"finding {f['rule']}: {f['text']['en']}"] = (f["severity"], 0.0)
    return found


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where two reports differ by more than their tolerances; None where one has no such number."""
    one, two = _numbers(first), _numbers(second)
    found = []
    for at in sorted(one.keys() | two.keys()):
        (a, tolerance), (b, _) = one.get(at, (None, 0.0)), two.get(at, (None, 0.0))
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
        same = abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)) if numbers else a == b
        if not same:
            found.append({"at": at, "first": a, "second": b})
    return found


def run_diff(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``validate diff``."""
    (first, one), (second, two) = read_signed(arguments.first), read_signed(arguments.second)
    for document, where in ((first, arguments.first), (second, arguments.second)):
        if document.get("format") != FORMAT:
            raise InputError(
                f"{where} is of format {document.get('format')!r}; this version reads {FORMAT}"
            )
    found = differences(first, second)
    answer = {
        "differences": found,
        "same_model": first["subject"]["model_sha256"] == second["subject"]["model_sha256"],
        "same_data": first["subject"]["data_sha256"] == second["subject"]["data_sha256"],
        "keys": [one["key_id"], two["key_id"]],
    }
    lines = [
        f"{len(found)} numbers differ; both signatures hold (keys {one['key_id']}, {two['key_id']})"
    ]
    lines += [f"  {d['at']}: {d['first']} -> {d['second']}" for d in found[:40]]
    if len(found) > 40:
        lines.append(f"  and {len(found) - 40} more; all with --json")
    return (FOUND if found else DONE), answer, "\n".join(lines)
