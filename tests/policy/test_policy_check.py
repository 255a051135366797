"""The linter of policy packs: what it finds, and that the shipped packs are clean."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
import yaml

import gearline
from models.policy import PACK_NAMES
from models.policy.check import check_documents
from models.policy.document import shipped_documents


def _found(name: str, change: Any) -> list[tuple[str, str, str]]:
    document, house = copy.deepcopy(shipped_documents(name))
    change(document, house)
    return [(f.kind, f.parameter, f.detail) for f in check_documents(document, house)[1]]


@pytest.mark.parametrize("name", PACK_NAMES)
def test_the_shipped_packs_have_no_gap_no_overlap_and_no_unreachable_rule(name):
    assert _found(name, lambda d, h: None) == []


def test_a_rule_without_a_value_at_the_packs_first_date_is_a_gap():
    def change(document: dict[str, Any], _: Any) -> None:
        document["first_date"] = dt.date(2009, 1, 1)

    found = _found("cn", change)
    assert (
        "gap",
        "haircut_max_share_ratio",
        "no value from 2009-01-01 to 2010-03-31; add it, or say when the rule begins",
    ) in found


def test_a_rule_that_decisions_read_must_be_there_on_every_day():
    def gone(document: dict[str, Any], _: Any) -> None:
        del document["parameters"]["haircut_max_share_ratio"]

    assert _found("cn", gone) == [
        ("gap", "haircut_max_share_ratio", "a decision reads it and the pack does not have it")
    ]

    def repealed(document: dict[str, Any], _: Any) -> None:
        values = document["parameters"]["initial_margin_ratio"]["values"]
        values[dt.date(2010, 1, 4)] = {"value": None, "reference": "none", "verified": True}

    assert ("gap", "initial_margin_ratio", "no value in force on 2010-01-04") in _found(
        "us", repealed
    )


def test_a_rule_that_begins_on_another_day_than_its_first_value_is_a_gap():
    def change(document: dict[str, Any], _: Any) -> None:
        document["parameters"]["price_limit_star_ratio"]["begins"] = dt.date(2019, 7, 1)

    assert _found("cn", change) == [
        (
            "gap",
            "price_limit_star_ratio",
            "begins 2019-07-01, its first value holds from 2019-07-22",
        )
    ]


def test_two_values_from_one_moment_and_values_out_of_order_overlap():
    def twice(document: dict[str, Any], _: Any) -> None:
        values = document["parameters"]["financing_margin_ratio"]["values"]
        values[dt.datetime(2026, 1, 19)] = {"value": "0.90", "reference": "x", "verified": True}

    assert _found("cn", twice) == [
        ("overlap", "financing_margin_ratio", "two values hold from 2026-01-19; keep one")
    ]

    def disorder(document: dict[str, Any], _: Any) -> None:
        values = document["parameters"]["funding_bps"]["values"]
        document["parameters"]["funding_bps"]["values"] = dict(reversed(values.items()))

    assert (
        "overlap",
        "funding_bps",
        "2010-03-31 stands after 2019-01-01; put it in order",
    ) in _found("cn", disorder)


def test_a_house_rule_said_by_pack_and_profile_overlaps():
    def change(document: dict[str, Any], house: dict[str, Any]) -> None:
        item = house["from_first_date"]["hurdle_bps"]
        document["parameters"]["hurdle_bps"] = {
            "unit": "int", "level": "house", "en": item["en"], "zh": item["zh"],
            "values": {document["first_date"]: {"value": 900, "reference": "x", "verified": True}},
        }  # fmt: skip

    assert _found("us", change) == [
        ("overlap", "hurdle_bps", "the pack and the house profile both say it; keep one")
    ]


def test_a_value_after_the_last_date_or_replaced_before_the_first_is_unreachable():
    def late(document: dict[str, Any], _: Any) -> None:
        values = document["parameters"]["funding_bps"]["values"]
        values[dt.date(2030, 1, 1)] = {"value": 1, "reference": "x", "verified": True}

    assert _found("us", late) == [
        ("unreachable", "funding_bps", "the value of 2030-01-01 lies after the pack's last date")
    ]

    def early(document: dict[str, Any], _: Any) -> None:
        item = document["parameters"]["initial_margin_ratio"]
        old = {dt.date(1970, 1, 1): {"value": "0.80", "reference": "x", "verified": False}}
        item["values"] = old | item["values"]

    assert _found("us", early) == [
        (
            "unreachable",
            "initial_margin_ratio",
            "the value of 1970-01-01 is replaced on 1974-01-03, before the pack's first date",
        )
    ]


def test_a_house_value_looser_than_the_law_all_its_days_is_unreachable():
    def change(document: dict[str, Any], _: Any) -> None:
        values = document["parameters"]["house_margin_ratio_floor_ratio"]["values"]
        values[dt.date(2010, 3, 31)]["value"] = "0.40"

    assert _found("cn", change) == [
        (
            "unreachable",
            "house_margin_ratio_floor_ratio",
            "the house value of 2010-03-31 is looser than the law on every day it holds",
        )
    ]


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("concentration_limit_2_ratio", "0.40", "the second band hides the first"),
        ("concentration_line_2_ratio", "1.70", "it asks no more than the first"),
    ],
)
def test_a_band_that_another_hides_is_unreachable(name, value, detail):
    def change(_: Any, house: dict[str, Any]) -> None:
        house["from_first_date"][name]["value"] = value

    kinds = {(kind, text.split(" ", 2)[2]) for kind, _, text in _found("us", change)}
    assert kinds == {("unreachable", detail)}


def test_a_house_line_looser_than_the_rule_is_found():
    def change(document: dict[str, Any], _: Any) -> None:
        values = document["parameters"]["call_deadline_sessions"]["values"]
        values[dt.date(2010, 3, 31)]["value"] = 3

    assert _found("cn", change) == [
        (
            "loose",
            "",
            "pack cn on 2010-03-31: the house deadline of 3 sessions is longer than the rule's 2;"
            " shorten it",
        )
    ]


def test_a_value_without_a_reference_or_a_verification_status_is_found():
    def change(document: dict[str, Any], _: Any) -> None:
        item = document["parameters"]["withdrawal_line_ratio"]
        value = item["values"][dt.date(2010, 3, 31)]
        value["reference"] = ""
        del value["verified"]
        item["zh"] = ""

    assert _found("cn", change) == [
        ("form", "withdrawal_line_ratio", "zh is missing"),
    ]

    def only_value(document: dict[str, Any], _: Any) -> None:
        value = document["parameters"]["withdrawal_line_ratio"]["values"][dt.date(2010, 3, 31)]
        value["reference"] = ""
        del value["verified"]

    assert _found("cn", only_value) == [
        ("form", "withdrawal_line_ratio", "the value of 2010-03-31 has no reference"),
        ("form", "withdrawal_line_ratio", "the value of 2010-03-31 has no verified"),
    ]


def test_the_verb_exits_with_1_on_a_finding_and_names_it(capsys, tmp_path):
    document, house = shipped_documents("us")
    document["parameters"]["funding_bps"]["values"][dt.date(2030, 1, 1)] = {
        "value": 1, "reference": "x", "verified": True,
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert gearline.main(["policy", "check", str(path)]) == gearline.FOUND
    said = capsys.readouterr().out
    assert "unreachable: funding_bps: the value of 2030-01-01 lies after" in said
    assert gearline.main(["policy", "check"]) == gearline.DONE
    said = capsys.readouterr().out
    assert "cn: " in said
    assert "unverified: single_client_capital_ratio" in said
    assert house["from_first_date"]


def test_the_difference_of_two_moments_names_the_rule_and_the_way_it_moved(capsys):
    verb = ["policy", "diff", "cn@2023-09-08T14:59:59", "cn@2023-09-08T15:00:00"]
    assert gearline.main(verb) == gearline.DONE
    assert "financing_margin_ratio" in (said := capsys.readouterr().out)
    assert "1.000000 -> 0.800000  looser" in said
    assert gearline.main(["policy", "diff", "us@2026-06-03", "us@2026-06-04"]) == gearline.DONE
    said = capsys.readouterr().out
    assert "25000.00 -> none  removed" in said
    assert "none -> 0.250000  added" in said


def test_a_pack_is_kept_in_a_lake_by_its_hash_and_one_with_findings_is_not(tmp_path, capsys):
    from models.policy.kept import linted

    assert gearline.main(["policy", "keep", "us", "--lake", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert linted(tmp_path, "us", told["sha256"]).sha256 == told["sha256"]
    broken = tmp_path / "broken.yaml"
    broken.write_text("pack: us\nparameters: {}\n", encoding="utf-8")
    assert gearline.main(["policy", "keep", str(broken), "--lake", str(tmp_path)]) != 0
    assert "it is not kept" in capsys.readouterr().err
    assert [p.stem for p in (tmp_path / "policies").iterdir()] == [told["sha256"]]
