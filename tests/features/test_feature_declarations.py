"""What a feature declares, how values are bounded and stored, and what a set's hash covers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import math
import re
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import features
from data_contracts.errors import InputError
from data_contracts.units import NULL
from features.book import BookAsOf
from features.calendar import cut_off
from features.catalogue import BESIDE, CATALOGUE
from features.declare import FAMILIES, GROUPS, REGISTRY, Feature, feature
from features.dictionary import dictionary_markdown
from features.sets import (
    APPLICATION,
    BEHAVIOURAL,
    BEHAVIOURAL_2,
    BEHAVIOURAL_3,
    FEATURE_SETS,
    FeatureSet,
    feature_set,
    feature_set_sha256,
)

ROOT = Path(features.__file__).parent


def made(values: list[float], **changes: object) -> Feature:
    base = BEHAVIOURAL.features[0]
    fields = {"low": -1.0, "high": 2.0, "one": 1000, "function": lambda book: np.array(values)}
    return dataclasses.replace(base, **(fields | changes))  # type: ignore[arg-type]


class _Clients:
    def __init__(self, clients: int) -> None:
        self.clients = clients


def book_of(clients: int) -> BookAsOf:
    return cast(BookAsOf, _Clients(clients))


@pytest.mark.parametrize("f", BEHAVIOURAL_3.features, ids=lambda f: f.name)
def test_every_feature_states_what_it_is(f: Feature) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]+", f.name)
    assert f.direction in (-1, 0, 1)
    assert f.family in FAMILIES
    assert f.group in GROUPS
    assert f.unit
    assert f.missing
    assert f.evidence
    assert f.en.isascii()
    assert re.search(r"[\u4e00-\u9fff]", f.zh)
    assert len(f.description) > 20
    assert f.window_sessions >= 0
    assert math.isfinite(f.low)
    assert math.isfinite(f.high)
    assert max(abs(f.low), abs(f.high)) * f.one < 2**53
    assert f.name.endswith("_ratio") <= (f.one == 1_000_000)


def test_values_beyond_the_bounds_are_clipped_and_nan_is_null() -> None:
    got = made([-5.0, 5.0, math.inf, -math.inf, math.nan]).values(book_of(5))
    assert got.tolist() == [-1000, 2000, 2000, -1000, NULL]


def test_values_are_quantised_half_to_even() -> None:
    got = made([0.0625, 0.1875, 0.0004], one=8).values(book_of(3))
    assert got.tolist() == [0, 2, 0]


def test_a_feature_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"has shape \(2,\) for 3 clients; return one value"):
        made([0.0, 1.0]).values(book_of(3))


def test_bounds_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(InputError, match=r"bounds 2\.0 to 2\.0 are not ascending"):
        made([], low=2.0)


def test_a_name_is_declared_once() -> None:
    f = BEHAVIOURAL.features[0]
    declare = feature(
        unit="x", one=1, direction=0, family="kyc", group="kyc", window_sessions=0, low=0, high=1,
        missing="never", en="x", zh="某", evidence="none",
    )  # fmt: skip
    with pytest.raises(InputError, match=f"feature {f.name} is declared twice"):
        declare(f.function)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"}, {"unit": "other"}, {"one": 7}, {"direction": 1}, {"family": "market"},
        {"group": "market"}, {"window_sessions": 3}, {"low": -7.0}, {"high": 1e6 + 0.5},
        {"missing": "other"}, {"en": "other"}, {"zh": "另"}, {"evidence": "other"},
        {"description": "other"},
    ],
    ids=lambda c: next(iter(c)),
)  # fmt: skip
def test_any_change_of_a_declaration_changes_the_hash_of_its_set(change: dict[str, object]) -> None:
    first = BEHAVIOURAL.features[0]
    first = dataclasses.replace(first, direction=0, family="kyc", group="kyc", window_sessions=9)
    rest = BEHAVIOURAL.features[1:]
    plain = FeatureSet("s", 1, (first, *rest))
    changed = FeatureSet("s", 1, (dataclasses.replace(first, **change), *rest))  # type: ignore[arg-type]
    assert feature_set_sha256(plain) != feature_set_sha256(changed)


def test_the_hash_covers_label_and_order() -> None:
    a, b = BEHAVIOURAL.features[:2]
    digests = {
        feature_set_sha256(FeatureSet(name, version, order))
        for name, version, order in (
            ("s", 1, (a, b)), ("s", 1, (b, a)), ("s", 2, (a, b)), ("r", 1, (a, b)),
        )
    }  # fmt: skip
    assert len(digests) == 4


def test_the_application_set_needs_no_account_and_behavioural_holds_all_of_it() -> None:
    assert {f.group for f in APPLICATION.features} == {"kyc"}
    assert len(APPLICATION.features) >= 8
    assert set(APPLICATION.names) < set(BEHAVIOURAL.names)
    assert len(set(BEHAVIOURAL.names)) == len(BEHAVIOURAL.names) >= 26


def test_a_set_is_found_by_its_label() -> None:
    for known in FEATURE_SETS:
        assert feature_set(known.label) is known
    with pytest.raises(InputError, match=r"'behavioural/99' is not in this version; it has"):
        feature_set("behavioural/99")


def test_no_feature_code_names_a_protected_attribute_or_a_direct_identifier() -> None:
    pattern = re.compile(
        r"client_protected|ClientProtected|age_band|\bsex\b|\bregion\b|identities|ciphertext"
    )
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 10
    assert [f.name for f in files if pattern.search(f.read_text("utf-8"))] == []


def test_the_dictionary_lists_every_feature_and_the_docs_page_equals_it() -> None:
    page = dictionary_markdown()
    for f in BEHAVIOURAL_3.features:
        assert f"## {f.name}\n" in page
        assert f.description in page
    assert (ROOT.parent / "docs" / "features.md").read_text("utf-8") == page


def test_the_first_version_of_the_sets_keeps_its_hash_because_decisions_hold_it() -> None:
    assert {s.label: feature_set_sha256(s)[:16] for s in (APPLICATION, BEHAVIOURAL)} == {
        "application/1": "98740a6f0243fcf1",
        "behavioural/1": "0d3d3183d9d4035a",
    }


def test_each_version_begins_with_the_one_before_and_the_last_holds_every_feature() -> None:
    versions = (BEHAVIOURAL, BEHAVIOURAL_2, BEHAVIOURAL_3)
    for earlier, later in itertools.pairwise(versions):
        assert later.names[: len(earlier.names)] == earlier.names
    assert set(BEHAVIOURAL_3.names) == set(REGISTRY)


def test_the_catalogue_has_thirty_items_each_with_features_or_a_reason() -> None:
    assert [item.number for item in CATALOGUE] == list(range(1, 31))
    assert all(item.features or item.skipped for item in CATALOGUE)
    named = {name for item in CATALOGUE for name in item.features} | set(BESIDE)
    assert named == set(BEHAVIOURAL_3.names)


def test_the_cut_off_is_18_00_in_the_market_through_summer_time() -> None:

    assert str(cut_off(dt.date(2024, 7, 1), "XSHG")).startswith("2024-07-01T10:00")
    assert str(cut_off(dt.date(2024, 1, 2), "XNYS")).startswith("2024-01-02T23:00")
    assert str(cut_off(dt.date(2024, 7, 1), "XNAS")).startswith("2024-07-01T22:00")
    with pytest.raises(InputError, match="market 'XXXX' has no known time zone; use one of ARCX"):
        cut_off(dt.date(2024, 7, 1), "XXXX")


def test_every_feature_has_a_second_plain_implementation_in_the_tests() -> None:
    files = sorted((ROOT.parent / "tests" / "features").glob("test_*.py"))
    found = re.findall(r"^def (\w+)\(p: Any", "".join(f.read_text("utf-8") for f in files), re.M)
    assert set(REGISTRY) <= set(found)
