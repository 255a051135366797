"""A night that cannot be decided is refused in one line, and nothing is written."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import pytest

from models.policy import load_pack
from tests.serving.folders import files_in, refused

pytestmark = pytest.mark.usefixtures("clients_loaded_once")


@pytest.mark.parametrize(
    ("day", "why"),
    [
        ("2020-03-14", "2020-03-14 is no session of the market; the last one before is 2020-03-13"),
        ("2030-01-02", "outside the market's sessions, 1990-01-02 to 2022-12-28"),
        ("1980-01-02", "outside the market's sessions"),
        ("1995-06-01", "no row at or before 1995-06-01"),
        ("2020-02-31", "--as-of"),
    ],
)
def test_a_day_that_cannot_be_decided_on_is_refused_and_nothing_written(cli, demo_copy, day, why):
    before = files_in(demo_copy)
    assert why in refused(cli("reprice", demo_copy, "--as-of", day))
    assert files_in(demo_copy) == before


def test_a_day_outside_the_policy_pack_is_refused_and_nothing_written(
    cli, demo_copy, undecided, monkeypatch
):
    ended = dataclasses.replace(load_pack("us"), last_date=dt.date(2019, 12, 31))
    monkeypatch.setattr("serving.commands.nights.load_pack", lambda name: ended)
    before = files_in(demo_copy)
    line = refused(cli("reprice", demo_copy, "--as-of", undecided[0]))
    assert "policy pack 'us' is known from 1990-01-02 to 2019-12-31" in line
    assert files_in(demo_copy) == before


def test_a_policy_pack_of_another_currency_is_refused(cli, small_demo, undecided):
    line = refused(cli("reprice", small_demo.path, "--as-of", undecided[0], "--policy", "cn"))
    assert "the lake is in USD, policy pack 'cn' in CNY" in line


def test_a_damaged_bundle_is_refused(cli, demo_copy, undecided):
    path = demo_copy / "bundle/tiers.json"
    document = json.loads(path.read_bytes())
    document["edges"][0] += 1
    path.write_text(json.dumps(document))
    line = refused(cli("reprice", demo_copy, "--as-of", undecided[0]))
    assert "tiers.json is not what bundle.json was made from" in line


def test_a_folder_that_is_no_lake_is_refused(cli, tmp_path):
    refused(cli("reprice", tmp_path, "--as-of", "2020-03-16"))
    assert list(tmp_path.iterdir()) == []
