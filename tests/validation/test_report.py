"""Planted faults become findings, clean books hardly any; the document is whole, signed, comparable."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape
from scipy import stats

from data_contracts.errors import InputError
from tests.validation import books
from training.report.texts import same
from training.validation.document import DUE_DAYS, Figure, overall_grade
from training.validation.render import bars_svg, print_pdf, shown, write_pages
from training.validation.report import build_document, differences
from training.validation.rules import LEVEL, RULES
from training.validation.signing import load_key, read_signed, write_signed

HERE = Path(__file__).parent
TESTS_A_BOOK = 12
"""Tests of a clean book that can raise a finding, each at ``LEVEL`` at most: calibration, slope,
discrimination, flipped, drift of grades and features, weak spots, overfit, two benchmarks, fairness,
two of overrides."""


@pytest.fixture(scope="module")
def clean():
    return build_document(books.book(1))


def rules_of(document):
    return {(f["rule"], f["severity"]) for f in document["findings"]}


@pytest.mark.parametrize(
    ("fault", "rule", "least"),
    [
        ("calibration", "calibration", 4),
        ("leak", "leakage", 4),
        ("flip", "flipped", 3),
        ("segment", "weak_spot", 3),
        ("overrides", "overrides", 3),
        ("table", "monotone", 4),
    ],
)
def test_a_planted_fault_becomes_a_finding_of_its_severity(fault, rule, least):
    document = build_document(books.book(2, fault))
    assert (rule, least) in rules_of(document)
    assert document["grade"] >= least


def test_the_drifted_segment_is_named_and_the_leaking_feature_too():
    segment = build_document(books.book(3, "segment"))
    assert any(
        "feature 0" in f["text"]["en"] for f in segment["findings"] if f["rule"] == "weak_spot"
    )
    leak = build_document(books.book(3, "leak"))
    [found] = [f for f in leak["findings"] if f["rule"] == "leakage"]
    assert "feature 5" in found["text"]["en"]


@pytest.mark.long
def test_twenty_clean_books_yield_no_more_findings_than_the_levels_allow():
    findings = [f for seed in range(20) for f in build_document(books.book(100 + seed))["findings"]]
    most = stats.binom.ppf(0.99, 20 * TESTS_A_BOOK, LEVEL)
    assert len(findings) <= most, [f["text"]["en"] for f in findings]


def test_the_same_material_gives_the_same_bytes():
    one, two = (build_document(books.book(5)) for _ in range(2))
    assert json.dumps(one) == json.dumps(two)


def test_every_table_is_filled_or_says_why_not(clean):
    for section in clean["sections"]:
        if section["applies"]:
            assert section["figures"] or section["tables"] or section["points"], section["key"]
        else:
            assert section["absent"]["en"]
            assert section["absent"]["zh"]
        for table in section["tables"]:
            assert table["rows"], (section["key"], table["key"])
            for k, column in enumerate(table["columns"]):
                filled = [row[k] for row in table["rows"] if row[k] is not None]
                assert filled, (section["key"], table["key"], column)


def test_every_number_names_a_function_that_exists_and_the_hash_of_its_inputs(clean):
    for section in clean["sections"]:
        for one in [*section["figures"], *section["tables"]]:
            module, _, name = one["function"].partition(":")
            assert callable(getattr(importlib.import_module(module), name))
            assert len(one["inputs_sha256"]) == 64
            assert 0 < one["tolerance"] < 1e-6


def test_every_p_value_says_its_side_and_every_text_is_in_both_languages(clean):
    for section in clean["sections"]:
        for f in section["figures"]:
            assert set(f["text"]) == {"en", "zh"}
            if f["test"] is not None and f["test"]["p_value"] is not None:
                assert f["test"]["side"] in ("one-sided", "two-sided")
    for rule in clean["rules"].values():
        assert rule["text"]["en"] != rule["text"]["zh"]


def test_a_finding_has_an_owners_role_and_falls_due_by_its_severity():
    document = build_document(books.book(2, "calibration"))
    for f in document["findings"]:
        assert f["owner_text"]["en"]
        days = np.datetime64(f["due"]) - np.datetime64(document["as_of"])
        assert days == np.timedelta64(DUE_DAYS[f["severity"]], "D")
        assert f["rule"] in RULES


def test_the_grade_is_the_worst_finding_and_three_major_ones_are_severe():
    assert [overall_grade(s) for s in ([], [2, 2], [2, 3], [3, 3, 3], [4])] == [1, 2, 3, 4, 4]


def test_figures_can_be_computed_again_from_the_cases():
    material = books.book(6)
    document = build_document(material)
    from training.validation import calibration, curves, discrimination, scores

    v = material.validation
    again = {
        "discrimination.auc": discrimination.auc_delong(v.score, v.label).value,
        "discrimination.h_measure": curves.h_measure(v.score, v.label),
        "calibration.brier": scores.brier(v.probability, v.label),
        "calibration.cox_slope": calibration.cox(v.probability, v.label).slope,
    }
    for section in document["sections"]:
        for f in section["figures"]:
            at = f"{section['key']}.{f['key']}"
            if at in again:
                assert f["value"] == pytest.approx(again.pop(at), rel=f["tolerance"])
                assert f["inputs_sha256"] == v.sha256
    assert again == {}


def test_a_report_reads_back_with_its_signature_and_a_changed_one_is_refused(clean, tmp_path):
    key = load_key(tmp_path / "keys" / "validation.key")
    assert (tmp_path / "keys" / "validation.key").stat().st_mode & 0o077 == 0
    seal = write_signed(tmp_path, clean, key)
    document, again = read_signed(tmp_path)
    assert document == json.loads(json.dumps(clean))
    assert again == seal
    assert load_key(tmp_path / "keys" / "validation.key").sign(b"x") == key.sign(b"x")
    path = tmp_path / "report.json"
    path.write_bytes(path.read_bytes().replace(b'"as_of": "2026', b'"as_of": "2025', 1))
    with pytest.raises(InputError, match="was changed after it was signed"):
        read_signed(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write_signed(other, clean, load_key(tmp_path / "second.key"))
    seal = json.loads((other / "report.sig.json").read_bytes())
    seal["public_key"] = again["public_key"]
    (other / "report.sig.json").write_text(json.dumps(seal))
    with pytest.raises(InputError, match=r"the signature of .* does not hold"):
        read_signed(other)


def test_a_difference_is_one_outside_the_tolerance(clean):
    changed = json.loads(json.dumps(clean))
    assert differences(clean, changed) == []
    section = next(s for s in changed["sections"] if s["key"] == "discrimination")
    section["figures"][0]["value"] *= 1 + 1e-12
    assert differences(clean, changed) == []
    section["figures"][0]["value"] += 1e-6
    assert [d["at"] for d in differences(clean, changed)] == ["discrimination.auc"]


def test_both_pages_hold_every_finding_and_no_undefined_number(tmp_path, monkeypatch):
    monkeypatch.setattr("training.validation.render.shutil.which", lambda name: None)
    document = build_document(books.book(2, "calibration"))
    seal = write_signed(tmp_path, document, load_key(tmp_path / "k"))
    files, notes = write_pages(tmp_path, document, seal)
    assert files == ["report.en.html", "report.zh.html"]
    assert notes == ["no PDF: Chromium was not found; open the HTML and print it"]
    for language in ("en", "zh"):
        page = (tmp_path / f"report.{language}.html").read_text("utf-8")
        for f in document["findings"]:
            assert str(escape(f["text"][language])) in page
        for word in ("nan", "None", "Infinity", "{'en'"):
            assert f">{word}<" not in page
        assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        assert page.count("<section") == len(document["sections"]) + 3


def test_the_chinese_font_has_every_character_of_the_texts():
    import ast

    from fontTools.ttLib import TTFont

    root = HERE.parents[1]
    font = root / "training" / "validation" / "fonts" / "GearlineReportSans.woff"
    known = set(TTFont(font).getBestCmap())
    wanted = set()
    for path in (root / "training" / "validation").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                wanted |= {c for c in node.value if "\u4e00" <= c <= "\u9fff"}
    template = (root / "training" / "validation" / "report.html.j2").read_text("utf-8")
    wanted |= {c for c in template if "\u4e00" <= c <= "\u9fff"}
    assert {c for c in wanted if ord(c) not in known} == set()


def test_what_is_undefined_is_shown_as_a_dash_and_small_p_values_as_powers():
    assert shown(None, "number", "en") == "–"
    assert shown(float("nan"), "ratio", "en") == "–"
    assert shown(3e-9, "p", "en") == "3e-09"
    assert shown(0.0213, "p", "en") == "0.0213"
    assert shown({"en": "yes", "zh": "是"}, "text", "zh") == "是"
    assert Figure("k", same("k"), np.float64("nan"), "f", "0").as_dict()["value"] is None


def test_every_convention_is_also_there_in_chinese(clean):
    from training.validation.conventions import in_chinese

    known = {"AUC", "PD", "PSI", "CV", "KS", ""}
    for section in clean["sections"]:
        for f in section["figures"]:
            for text in (
                () if f["test"] is None else (f["test"]["convention"], f["test"]["detectable_unit"])
            ):
                assert text in known or any("\u4e00" <= c <= "\u9fff" for c in in_chinese(text)), (
                    text
                )


def test_a_category_is_drawn_as_bars_with_its_levels():
    chart = {
        "key": "c", "kind": "bars", "title": {"en": "t", "zh": "题"}, "labels": ["own", "rent"],
        "axes": [{"en": "value", "zh": "值"}, {"en": "log-odds", "zh": "对数几率"}],
        "series": [{"text": {"en": "t", "zh": "题"}, "x": [0.0, 1.0], "y": [-0.2, 0.4]}],
    }  # fmt: skip
    picture = bars_svg(chart, "en")
    assert picture.count("<rect") == 3  # paper and two bars
    assert "own" in picture
    assert "rent" in picture


def test_without_a_browser_there_is_a_note_and_no_pdf(tmp_path, monkeypatch):
    monkeypatch.setattr("training.validation.render.shutil.which", lambda name: "/bin/false")
    (tmp_path / "p.html").write_text("<p>page</p>")
    assert print_pdf(tmp_path / "p.html", tmp_path / "p.pdf") == (
        "no PDF: Chromium ended with 1; open the HTML and print it"
    )
