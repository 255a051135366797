"""What the policy packs say on which date, and what they refuse."""

from __future__ import annotations

import copy
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_contracts.errors import InputError
from models.policy import PACK_NAMES, load_pack
from models.policy.check import check_documents
from models.policy.document import DoubledKeyError, read_yaml, shipped_documents
from models.policy.pack import build_pack

CASES: dict[str, list[dict[str, Any]]] = {
    name: yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
    for name in PACK_NAMES
}
SCALE = {"ratio": 1_000_000, "amt": 100, "int": 1}
SECOND = dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, cases in CASES.items() for case in cases],
    ids=lambda c: c if isinstance(c, str) else f"{c['at']} {c['rule']}",
)
def test_the_pack_says_at_the_moment_what_the_case_says(name, case):
    pack = load_pack(name)
    policy = pack.at(case["at"])
    if case["is"] == "none":
        assert case["rule"] not in policy, case["says"]
        return
    unit = pack.parameters[case["rule"]].unit
    assert policy[case["rule"]] == Decimal(str(case["is"])) * SCALE[unit], case["says"]
    if pack.parameters[case["rule"]].level != "house":
        verified = policy.in_force[case["rule"]].verified
        assert verified == case.get("verified", True), case["says"]


@pytest.mark.parametrize("name", PACK_NAMES)
def test_every_dated_change_has_a_case_on_its_second_and_one_a_second_before(name):
    covered = {(c["rule"], c["at"]) for c in CASES[name]}
    assert len(CASES[name]) >= 20
    pack = load_pack(name)
    for key, parameter in pack.parameters.items():
        new = parameter.history if parameter.begins else parameter.history[1:]
        for value in new:
            for moment in (value.since, value.since - SECOND):
                assert (key, moment) in covered, (key, moment)


def test_a_moment_in_another_zone_is_the_same_moment_of_the_market():
    pack = load_pack("cn")
    closing = dt.datetime(2023, 9, 8, 7, 0, tzinfo=dt.UTC)
    assert pack.at(closing)["financing_margin_ratio"] == 800_000
    assert pack.at(closing - SECOND)["financing_margin_ratio"] == 1_000_000


def test_a_date_is_its_midnight_so_a_change_after_the_close_counts_from_the_next_day():
    pack = load_pack("cn")
    assert pack.on(dt.date(2023, 9, 8))["financing_margin_ratio"] == 1_000_000
    assert pack.on(dt.date(2023, 9, 9))["financing_margin_ratio"] == 800_000


@pytest.mark.parametrize(
    ("opened", "today", "least"),
    [
        ("2015-11-20", "2015-11-24", "0.50"),
        ("2015-11-23", "2015-11-24", "1.00"),
        ("2015-11-20", "2023-09-08", "0.50"),
        ("2023-09-01", "2023-09-08", "1.00"),
        ("2023-09-01", "2023-09-11", "0.80"),  # by agreement, for contracts that are open
        ("2023-09-11", "2026-01-18", "0.80"),
        ("2025-12-31", "2026-01-20", "0.80"),
        ("2026-01-18", "2026-01-20", "0.80"),
        ("2026-01-19", "2026-01-20", "1.00"),
    ],
)
def test_an_open_contract_keeps_the_ratio_of_its_opening_day(opened, today, least):
    policy = load_pack("cn").on(dt.date.fromisoformat(today))
    days, values = policy.by_opening_day("financing_margin_ratio")
    past = [v for d, v in zip(days, values, strict=True) if d <= dt.date.fromisoformat(opened)]
    assert past[-1] == Decimal(least) * 1_000_000


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
    assert str(caught.value) == "there is no policy pack 'hk'; the packs are cn, us, eu-cfd, uk-cfd"
    with pytest.raises(InputError) as caught:
        load_pack("us").on(dt.date(2020, 1, 2))["financing_margin_ratio"]
    assert str(caught.value) == (
        "policy pack 'us' has no parameter 'financing_margin_ratio' on 2020-01-02"
    )


def _refusal(name: str, change: Any) -> str:
    document, house = copy.deepcopy(shipped_documents(name))
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


@pytest.mark.parametrize(
    ("rule", "given", "says"),
    [
        (
            "structural_chance_by_tier_ratio",
            ["0.08", "0.07", "0.06", "0.05", "0.06", "0.03", "0.02"],
            "must be seven values that never rise",
        ),
        (
            "structural_chance_by_tier_ratio",
            ["0.08", "0.05", "0.02"],
            "must be seven values that never rise",
        ),
        (
            "structural_chance_by_tier_ratio",
            ["1.01", "0.07", "0.06", "0.05", "0.04", "0.03", "0.02"],
            "must lie between 0 and 1",
        ),
        (
            "structural_stretch_ratio",
            "0.99",
            "is 990000; it must lie between 1000000 and 2000000 (in 1e-6)",
        ),
        (
            "concentration_margin_from_ratio",
            "1.01",
            "is 1010000; it must lie between 0 and 1000000 (in 1e-6)",
        ),
        (
            "concentration_margin_slope_ratio",
            "-0.10",
            "is -100000; it must lie between 0 and 10000000 (in 1e-6)",
        ),
    ],
)
def test_chances_stretch_and_concentration_add_on_out_of_bounds_are_refused(rule, given, says):
    def change(_: Any, house: dict[str, Any]) -> None:
        house[rule]["values" if isinstance(given, list) else "value"] = given

    assert _refusal("cn", change) == f"pack cn: {rule} {says}"


def test_a_pack_kept_before_the_chance_was_a_tier_s_is_read_and_found_wanting():
    """The linter names each rule that is missing, so nothing is decided by such a pack."""
    document, house = copy.deepcopy(shipped_documents("us"))
    later = [
        n for n in house["from_first_date"] if n.startswith(("structural_", "concentration_m"))
    ]
    for name in later:
        del house["from_first_date"][name]
    assert build_pack(document, house).name == "us"
    _, findings = check_documents(document, house)
    assert {(f.kind, f.parameter) for f in findings} == {
        ("gap", "structural_chance_by_tier_ratio"),
        ("gap", "structural_stretch_ratio"),
        ("gap", "structural_hot_rise_ratio"),
        ("gap", "concentration_margin_from_ratio"),
        ("gap", "concentration_margin_slope_ratio"),
    }


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
    document, house = shipped_documents("us")
    own = build_pack(document, house).sha256
    assert own == load_pack("us").sha256
    for field, value in (("value", "0.60"), ("reference", "other"), ("verified", False)):
        changed, same = copy.deepcopy(shipped_documents("us"))
        changed["parameters"]["initial_margin_ratio"]["values"][dt.date(1974, 1, 3)][field] = value
        assert build_pack(changed, same).sha256 != own
    changed, other = copy.deepcopy(shipped_documents("us"))
    other["from_first_date"]["hurdle_bps"]["value"] = 1201
    assert build_pack(changed, other).sha256 != own


def test_a_rule_written_twice_is_refused_not_forgotten():
    with pytest.raises(DoubledKeyError) as caught:
        read_yaml("a: 1\nb: 2\na: 3\n", "x.yaml")
    assert str(caught.value) == "x.yaml: a is written twice, again in line 3; keep one"
