"""What the policy packs say on which date, and what they refuse."""

from __future__ import annotations

import copy
import datetime as dt
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_contracts.errors import InputError
from models.policy import PACK_NAMES, load_pack
from models.policy.pack import build_pack

CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "policy_cases.yaml").read_text(encoding="utf-8")
)
SCALE = {"ratio": 1_000_000, "amt": 100, "int": 1}


def _documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = resources.files("models.policy") / "packs"
    document = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return document, yaml.safe_load((folder / document.pop("include")).read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['pack']} {c['date']} {c['parameter']}")
def test_the_pack_says_on_the_date_what_the_case_says(case):
    pack = load_pack(case["pack"])
    unit = pack.parameters[case["parameter"]].unit
    expected = Decimal(str(case["expected"])) * SCALE[unit]
    assert pack.on(case["date"])[case["parameter"]] == expected, case["sentence"]


def test_every_dated_change_has_a_case_on_it_and_one_the_day_before():
    covered = {(c["pack"], c["parameter"], c["date"]) for c in CASES}
    for name in PACK_NAMES:
        for key, parameter in load_pack(name).parameters.items():
            for value in parameter.history[1:]:
                for day in (value.since, value.since - dt.timedelta(days=1)):
                    assert (name, key, day) in covered


@pytest.mark.parametrize("name", PACK_NAMES)
def test_every_value_has_a_unit_a_level_a_reference_and_both_names(name):
    for parameter in load_pack(name).parameters.values():
        assert parameter.unit in SCALE
        assert parameter.level in ("statute", "exchange", "house")
        assert parameter.en
        assert parameter.zh
        assert all(v.reference for v in parameter.history)


@pytest.mark.parametrize("name", PACK_NAMES)
def test_outside_its_dates_a_pack_raises_and_on_its_ends_it_does_not(name):
    pack = load_pack(name)
    assert pack.on(pack.first_date).in_force
    assert pack.on(pack.last_date).in_force
    for date in (
        pack.first_date - dt.timedelta(days=1),
        pack.last_date + dt.timedelta(days=1),
    ):
        with pytest.raises(InputError) as caught:
            pack.on(date)
        assert str(caught.value) == (
            f"policy pack '{name}' is known from {pack.first_date} to {pack.last_date};"
            f" {date} is outside; extend the pack or choose another date"
        )


def test_an_unknown_pack_and_an_unknown_parameter_are_named():
    with pytest.raises(InputError) as caught:
        load_pack("hk")
    assert str(caught.value) == "there is no policy pack 'hk'; the packs are cn, us"
    with pytest.raises(InputError) as caught:
        load_pack("us").on(dt.date(2020, 1, 2))["financing_margin_ratio"]
    assert str(caught.value) == (
        "policy pack 'us' has no parameter 'financing_margin_ratio' on 2020-01-02"
    )


def _refusal(name: str, change: Any) -> str:
    document, house = copy.deepcopy(_documents(name))
    change(document["parameters"], house["from_first_date"])
    with pytest.raises(InputError) as caught:
        build_pack(document, house)
    return str(caught.value)


def _set(parameter: str, value: Any) -> Any:
    def change(parameters: dict[str, Any], _: Any) -> None:
        first = next(iter(parameters[parameter]["values"].values()))
        first["value"] = value

    return change


def test_a_house_line_looser_than_the_rule_is_refused():
    assert _refusal("cn", _set("call_line_ratio", "1.290000")) == (
        "pack cn on 2010-03-31: the house call line 1290000 is looser than the rule's 1300000"
        " (in 1e-6); raise it"
    )
    assert _refusal("us", _set("call_line_ratio", "1.333333")) == (
        "pack us on 1990-01-02: the house call line 1333333 is looser than the rule's 1333334"
        " (in 1e-6); raise it"
    )


def test_lines_and_tiers_out_of_order_are_refused():
    assert _refusal("us", _set("warn_line_ratio", "1.700000")) == (
        "pack us: observe, warn, call, force must fall in that order, not"
        " [1600000, 1700000, 1428572, 1176471]"
    )

    def rising(_: Any, house: dict[str, Any]) -> None:
        house["tier_cap_ratio"]["values"] = ["1.00", "0.50", "0.60", "0.40", "0.30", "0.20", "0.10"]

    assert _refusal("us", rising) == "pack us: tier_cap_ratio must be seven values that never rise"

    def above(_: Any, house: dict[str, Any]) -> None:
        house["tier_cap_ratio"]["values"] = ["1.10", "1.00", "0.60", "0.40", "0.30", "0.20", "0.10"]

    assert _refusal("us", above) == "pack us: tier_cap_ratio must lie between 0 and 1"


def test_a_float_or_a_ratio_as_integer_is_refused():
    assert _refusal("us", _set("initial_margin_ratio", 0.5)) == (
        "pack us: initial_margin_ratio: write 0.5 as a quoted decimal, so that no float is read"
    )
    assert _refusal("us", _set("rate_ceiling_bps", 1500.0)) == (
        "pack us: rate_ceiling_bps: 1500.0 is not an integer"
    )


def test_an_unknown_level_and_values_out_of_order_are_refused():
    def level(parameters: dict[str, Any], _: Any) -> None:
        parameters["funding_bps"]["level"] = "guess"

    assert _refusal("us", level) == (
        "pack us: funding_bps has level 'guess'; levels are statute, exchange, house"
    )

    def disorder(parameters: dict[str, Any], _: Any) -> None:
        values = parameters["funding_bps"]["values"]
        parameters["funding_bps"]["values"] = dict(reversed(values.items()))

    assert _refusal("us", disorder) == "pack us: the values of funding_bps are not in order of date"


def test_any_change_of_a_value_or_its_reference_changes_the_packs_hash():
    document, house = _documents("us")
    own = build_pack(document, house).sha256
    assert own == load_pack("us").sha256
    for field, value in (("value", "0.60"), ("reference", "other"), ("verified", False)):
        changed, same = copy.deepcopy(_documents("us"))
        changed["parameters"]["initial_margin_ratio"]["values"][dt.date(1974, 1, 3)][field] = value
        assert build_pack(changed, same).sha256 != own
    changed, other = copy.deepcopy(_documents("us"))
    other["from_first_date"]["hurdle_bps"]["value"] = 1201
    assert build_pack(changed, other).sha256 != own
