"""``gearline provisions`` on a laboratory book: what it prints, and what became of the clients."""

import re
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

import gearline

STAGE_SHORTFALLS = 0.01
"""Most of the laboratory's stage 1 clients that may have a shortfall within a year."""


@pytest.fixture(scope="module")
def overlays(tmp_path_factory):
    path = tmp_path_factory.mktemp("overlays") / "overlays.yaml"
    path.write_text(
        "- {name: crowding, reason: a tenth of the book is one name, author: ann, approver: ben,"
        ' stage: 1, share_ratio: "0.10", from: 2014-01-01, until: 2030-01-01}\n'
    )
    return path


def test_a_night_is_provisioned_and_every_sum_holds(
    small_demo, overlays, cli, tmp_path, undocumented
):
    out = tmp_path / "out"
    ran = cli("provisions", small_demo.path, "--overlays", overlays, "--out", out, "--json")
    assert ran.code == gearline.DONE, ran.err
    d = ran.document
    assert undocumented("provisions", d) == []
    money = lambda rows, key: sum(Decimal(r[key]) for r in rows)  # noqa: E731
    assert money(d["stages"], "provision_amt") == Decimal(d["provision_amt"])
    assert money(d["reasons"], "modelled_amt") == money(d["stages"], "modelled_amt")
    assert sum(r["clients"] for r in d["reasons"]) == d["clients"]
    assert Decimal(d["stages"][0]["overlay_amt"]) > 0
    *steps, closing = d["movement"]["rows"]
    for key in ("stage_1_amt", "stage_2_amt", "stage_3_amt", "total_amt"):
        assert money(steps, key) == Decimal(closing[key])
    assert closing["total_amt"] == d["provision_amt"]
    cases = {s["case"]: Decimal(s["modelled_amt"]) for s in d["sensitivity"]}
    assert cases["calm"] < cases["base"] < cases["fall"]
    assert cases["all_stage_1"] <= money(d["stages"], "modelled_amt") <= cases["all_stage_2"]
    sealed = sorted((small_demo.path / "runs" / d["run_id"]).glob("bucket=*/decisions.parquet"))
    held = [pq.read_table(f, partitioning=None, columns=["ead_amt"]) for f in sealed]
    assert money(d["stages"], "ead_amt") == sum(sum(t["ead_amt"].to_pylist()) for t in held)
    page = (out / "provisions.html").read_text("utf-8")
    assert not re.search(r"(?:src|href)=", page)
    assert page.count('role="img"') == 2
    assert f"{Decimal(d['stages'][1]['provision_amt']):,}" in page


def test_in_the_laboratory_the_years_lost_no_more_than_was_provided(small_demo, cli):
    tested = cli("provisions", small_demo.path, "--json").document["back_test"]
    assert tested["nights"]
    assert Decimal(tested["one_year_amt"]) >= Decimal(tested["realised_amt"])
    stages = {s["stage"]: s for s in tested["stages"]}
    assert stages[1]["short_share"] < STAGE_SHORTFALLS


def test_a_day_without_a_night_is_refused_with_the_days_there_are(small_demo, cli):
    ran = cli("provisions", small_demo.path, "--as-of", "2014-02-03")
    assert ran.code == gearline.REFUSED
    assert re.search(r"--as-of 2014-02-03: no finished night is there; the lake has \d+", ran.err)
