"""A night is decided under the policy and the model that approved proposals bring into force."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace

import orjson
import pytest

from models.bundle import Bundle
from models.policy import load_pack
from models.policy.kept import keep
from serving.console.candidates import changed_pack
from serving.ledger import Ledger, read_entries
from serving.replay import replay_sample

SHIPPED = load_pack("us").sha256


@pytest.fixture
def lake(small_demo, tmp_path):
    path = tmp_path / "lake"
    shutil.copytree(small_demo.path, path, ignore=shutil.ignore_patterns("runs", "ledger*", "keys"))
    return path


def approve(lake, kind, content, effective_at):
    body = {**content, "effective_at": effective_at.isoformat(), "proposal_id": "p1"}
    with Ledger.open(lake / "ledger.sqlite", create=True) as ledger:
        ledger.append([{"kind": kind, "body": body}])


def started(lake):
    entries = read_entries(lake / "ledger.sqlite")
    return {e.body["as_of"]: e.body for e in entries if e.kind == "run_started"}


def test_a_night_is_decided_by_what_is_in_force_when_its_day_begins(lake, undecided, run_json):
    one, two = undecided[9:11]
    bundle = Bundle.read(lake / "bundle")
    newer = replace(bundle, tier_edges=bundle.tier_edges + 1)
    newer.write(lake / "bundles" / newer.sha256[:16])
    pack = keep(lake, *changed_pack("us", "commercial_margin_bps", "400", one, "minutes 7"))
    # market time: the second night's day begins four hours into the same day of UTC
    begins = dt.datetime.combine(two + dt.timedelta(days=1), dt.time(4), dt.UTC)
    approve(lake, "policy_approved", {"pack": "us", "sha256": pack}, begins)
    release = {"bundle": newer.sha256, "review_on": "2030-01-01"}
    approve(lake, "model_released", release, begins)
    run_json("reprice", lake, "--as-of", one)
    run_json("reprice", lake, "--as-of", two)
    nights = started(lake)
    assert (two + dt.timedelta(days=1)).isoformat() == nights[two.isoformat()]["effective_on"]
    before, after = nights[one.isoformat()], nights[two.isoformat()]
    assert (before["policy_sha256"], after["policy_sha256"]) == (SHIPPED, pack)
    assert (before["bundle"], after["bundle"]) == (bundle.sha256, newer.sha256)
    report = replay_sample(lake, lake / "ledger.sqlite", 50, 3)
    assert report.different == ()
    assert report.checked == 50


def test_a_night_is_not_decided_by_another_than_the_approved_pack(lake, undecided, cli):
    one = undecided[9]
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    approve(lake, "policy_approved", {"pack": "us", "sha256": "ab" * 32}, long_ago)
    refused = cli("reprice", lake, "--as-of", one)
    assert "neither ships with this release nor is kept" in refused.err
    assert list(started(lake)) == []
    assert orjson.loads((lake / "lake.json").read_bytes())
