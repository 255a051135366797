"""Which inputs belong together, what the hashes cover, and the bundle folder."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import orjson
import pytest

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from models.bundle import Bundle
from models.decide import decide, decide_columns
from models.policy import load_pack
from tests.models.builders import (
    BUNDLE,
    EFFECTIVE,
    MARKETS,
    POLICIES,
    SESSION,
    TYPICAL,
    make_bundle,
    make_case,
    make_frame,
)

CASE, FRAME = make_case(), make_frame(BUNDLE, ["c1"], TYPICAL)
POLICY, MARKET = POLICIES["us"], MARKETS["us"]


def _refusal(**changes: Any) -> str:
    used = {
        "cases": [CASE], "features": FRAME, "bundle": BUNDLE, "policy": POLICY, "market": MARKET,
        **changes,
    }  # fmt: skip
    with pytest.raises(InputError) as caught:
        decide_columns(**used)
    return str(caught.value)


def test_inputs_that_do_not_belong_together_are_refused_by_name():
    day = dt.date(2024, 3, 14)
    assert _refusal(cases=[CASE, CASE]) == "2 cases but 1 rows of features"
    assert _refusal(cases=[make_case("c2")]) == (
        "the case of client c2 meets the features of client c1"
    )
    assert _refusal(
        features=replace(FRAME, feature_set="other/2", feature_set_sha256="00" * 32)
    ) == (
        "the features are of set other/2 (000000000000), the bundle was fitted on test/1"
        " (abababababab); build the features of the bundle's set or train again"
    )
    assert _refusal(cases=[replace(CASE, as_of=day)]) == (
        "client c1: the case is as of 2024-03-14, the features of 2024-03-15, the market snapshot"
        " of 2024-03-15; they must be one session"
    )
    assert _refusal(features=replace(FRAME, as_of=day)) == (
        "client c1: the case is as of 2024-03-15, the features of 2024-03-14, the market snapshot"
        " of 2024-03-15; they must be one session"
    )
    assert _refusal(market=replace(MARKET, session=day)) == (
        "client c1: the case is as of 2024-03-15, the features of 2024-03-15, the market snapshot"
        " of 2024-03-14; they must be one session"
    )
    assert _refusal(policy=POLICIES["cn"]) == (
        "client c1: the case is in USD, policy pack 'cn' in CNY, the market in USD; they must be"
        " one currency"
    )
    assert _refusal(policy=load_pack("us").on(SESSION)) == (
        "a decision as of 2024-03-15 is effective from the next session, not 2024-03-15"
    )


def test_a_changed_byte_of_any_input_changes_the_decision_hash():
    own = decide(CASE, FRAME, BUNDLE, POLICY, MARKET)
    assert decide(make_case(), FRAME, make_bundle(), POLICY, replace(MARKET)) == own
    base = {"case": CASE, "features": FRAME, "bundle": BUNDLE, "policy": POLICY, "market": MARKET}
    changes: list[dict[str, Any]] = [
        {"case": replace(CASE, known_at=CASE.known_at + dt.timedelta(seconds=1))},
        {"features": make_frame(BUNDLE, ["c1"], (13, 30, 1, 0))},
        {"bundle": replace(BUNDLE, reference={"sha256": "ef" * 32, "rows": 4})},
        {"policy": replace(POLICY, sha256="00" * 32)},
        {"policy": load_pack("us").on(EFFECTIVE + dt.timedelta(days=1))},
        {"market": replace(MARKET, utilisation=MARKET.utilisation + 1)},
    ]
    seen = {own.sha256}
    for change in changes:
        used: dict[str, Any] = {**base, **change}
        seen.add(decide(**used).sha256)
    assert len(seen) == len(changes) + 1


def _no_floats(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_no_floats(v) for v in value.values())
    if isinstance(value, list):
        return all(_no_floats(v) for v in value)
    return not isinstance(value, float)


def test_a_body_is_canonical_json_without_floats():
    made = decide(CASE, FRAME, BUNDLE, POLICY, MARKET)
    assert _no_floats(made.body)
    assert canonical_bytes(made.body) == orjson.dumps(made.body, option=orjson.OPT_SORT_KEYS)
    assert orjson.loads(made.canonical) == made.body


def test_a_bundle_reads_back_as_it_was_written(tmp_path):
    BUNDLE.write(tmp_path)
    again = Bundle.read(tmp_path)
    assert (again.sha256, again.files) == (BUNDLE.sha256, BUNDLE.files)
    assert decide(CASE, FRAME, again, POLICY, MARKET) == decide(CASE, FRAME, BUNDLE, POLICY, MARKET)
    again.check_monotone()


def test_a_bundle_with_a_changed_file_is_refused_unless_replay_asks_for_it(tmp_path):
    BUNDLE.write(tmp_path)
    path = tmp_path / "tiers.json"
    path.write_bytes(path.read_bytes().replace(b"3000000,", b"3000001,"))
    with pytest.raises(InputError) as caught:
        Bundle.read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: tiers.json is not what bundle.json was made from; restore the bundle or"
        " register the changed one as a new bundle"
    )
    assert Bundle.read(tmp_path, verify=False).sha256 != BUNDLE.sha256


@pytest.mark.parametrize("name", ["calibration.json", "tables/default_60.json", "features.json"])
def test_a_damaged_or_absent_bundle_file_is_an_input_error(tmp_path, name):
    BUNDLE.write(tmp_path)
    for content in (b"{", b"{}", b"[]", b"7"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="the bundle is damaged"):
            Bundle.read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="the bundle is damaged"):
        Bundle.read(tmp_path)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(InputError) as caught:
        Bundle.read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not a bundle: it has no bundle.json; make one with `gearline train`"
    )


def test_a_bundle_whose_parts_do_not_fit_is_refused():
    with pytest.raises(InputError) as caught:
        replace(BUNDLE, tier_edges=BUNDLE.tier_edges[::-1])
    assert str(caught.value) == "tiers: six ascending PD edges are needed for seven tiers"
    listed = [*BUNDLE.features["features"][:3], {"name": "x", "family": "zodiac", "direction": 0}]
    with pytest.raises(InputError) as caught:
        replace(BUNDLE, features={**BUNDLE.features, "features": listed})
    assert str(caught.value) == (
        "features of family 'zodiac' have no reason; add factor_zodiac to the catalogue"
    )
    with pytest.raises(InputError) as caught:
        replace(BUNDLE, features={**BUNDLE.features, "features": listed[:2]})
    assert str(caught.value) == "the tables are over 4 features, the feature set has 2"


def test_tables_against_their_declared_direction_are_refused():
    turned = [{**f, "direction": -f["direction"]} for f in BUNDLE.features["features"]]
    with pytest.raises(InputError, match="the scorer tables are not monotone: feature 0: from "):
        replace(BUNDLE, features={**BUNDLE.features, "features": turned}).check_monotone()
