"""Faults planted into a night: each held or blocked, with the reason; clean nights pass."""

from __future__ import annotations

import copy
import datetime as dt
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import gearline
from data_contracts.canonical import canonical_bytes
from data_contracts.lake import lake_info
from features.asof import BookHistory
from features.panel import load_panel
from models.bundle import Bundle
from models.policy import Pack
from models.policy.document import shipped_documents
from models.policy.pack import build_pack, load_pack
from serving.commands.nights import decide_nights
from serving.ledger import Ledger
from serving.nightly.publishing.flow import publish_run

pytestmark = pytest.mark.long
CLIENTS = 400
CLEAN_NIGHTS = 20
FIRST_NIGHT = -60
"""Sessions before the end of the lake on which the first night is decided."""


@dataclass(frozen=True)
class Base:
    """A checked lake on a generated market with one night published, and the sessions after it."""

    path: Path
    days: list[dt.date]


def decide(root, days, pack: Pack | None = None, bundle="bundle"):
    panel = load_panel(root)
    histories = [BookHistory.load(root, panel, b) for b in range(lake_info(root).buckets)]
    pack = pack or load_pack("us")
    return decide_nights(root, pack, bundle, histories, days, lambda *a: None).runs


@pytest.fixture(scope="module")
def base(small_demo, tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "lake"
    period = ["--from", "2018-01-02", "--to", "2019-12-31"]
    simulate = ["lab", "simulate", "--market", "generated:5", "--clients", str(CLIENTS), *period]
    assert gearline.main([*simulate, "--out", str(root)]) == gearline.DONE
    assert gearline.main(["data", "check", str(root)]) == gearline.DONE
    shutil.copytree(small_demo.path / "bundle", root / "bundle")
    sessions = load_panel(root).sessions[FIRST_NIGHT : FIRST_NIGHT + CLEAN_NIGHTS + 1]
    days = [d.astype("datetime64[D]").item() for d in sessions]
    [run] = decide(root, days[:1])
    assert publish_run(root, root / "ledger.sqlite", run.run_id).state == "published"
    return Base(root, days)


@pytest.fixture
def lake(base, tmp_path):
    return shutil.copytree(base.path, tmp_path / "lake")


def judged(root, day, **how):
    """The gate's word on the night of a day: its state, and the rules against it."""
    [run] = decide(root, [day], **how)
    made = publish_run(root, root / "ledger.sqlite", run.run_id)
    return made.state, {r.rule.name: r for r in made.verdict.against}


def rewrite(folder, change):
    """Change the rows of every file of a table."""
    for path in sorted(folder.rglob("*.parquet")):
        pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def held_most(root, day):
    """The symbol that most of the book's holdings are in on a day."""
    counts: Counter[str] = Counter()
    for path in (root / "positions").rglob("*.parquet"):
        rows = pq.read_table(path, partitioning=None)
        to = pc.fill_null(rows["to_session"], pa.scalar(day).cast(rows["to_session"].type))
        held = pc.and_(pc.less_equal(rows["from_session"], day), pc.greater_equal(to, day))
        counts.update(rows.filter(held)["symbol"].to_pylist())
    return counts.most_common(1)[0][0]


def test_twenty_clean_nights_of_which_at_most_one_is_held(base, lake):
    where, states = lake / "ledger.sqlite", []
    for run in decide(lake, base.days[1:]):
        made = publish_run(lake, where, run.run_id)
        states.append(made.state)
        if made.state == "held":
            body = {
                "run_id": run.run_id, "run_sha256": made.run.sha256,
                "verdict_sha256": made.verdict_sha256, "approvals": ["ann", "bob"],
                "proposal_id": made.proposal_id, "content_sha256": "0" * 64,
            }  # fmt: skip
            with Ledger.open(where) as ledger:
                ledger.append([{"kind": "publication_approved", "body": body}])
            assert publish_run(lake, where, run.run_id).state == "published"
    assert len(states) == CLEAN_NIGHTS
    assert states.count("held") <= 1
    assert "blocked" not in states


@pytest.mark.parametrize("factor", [(10, 1), (1, 10)], ids=["times ten", "over ten"])
def test_a_price_off_by_ten_is_held_and_the_name_is_said(base, lake, factor):
    day = base.days[1]
    symbol = held_most(lake, day)
    times, over = factor

    def off(rows):
        wrong = pc.and_(pc.equal(rows["symbol"], symbol), pc.equal(rows["session"], day))
        for name in ("open", "high", "low", "close"):
            place = rows.schema.get_field_index(name)
            kind = rows.schema.field(name).type
            other = pc.divide(pc.multiply(rows[name].cast(pa.float64()), times), over)
            other = pc.round(other, 4).cast(kind, safe=False)
            rows = rows.set_column(
                place, rows.schema.field(name), pc.if_else(wrong, other, rows[name])
            )
        return rows

    rewrite(lake / "bars", off)
    state, against = judged(lake, day)
    assert state in ("held", "blocked")
    assert symbol in against["price_jump_ratio"].measured.detail


def test_half_the_positions_missing_is_blocked_by_their_count(base, lake):
    rewrite(
        lake / "positions", lambda rows: rows.filter(pa.array(np.arange(rows.num_rows) % 2 == 0))
    )
    state, against = judged(lake, base.days[1])
    assert state == "blocked"
    assert against["positions_lost_ratio"].measured.value > 400_000


def test_clients_of_a_bucket_missing_from_every_table_are_held_by_coverage(base, lake):
    bucket = sorted((lake / "accounts").glob("bucket=*"))[0].name
    names = pa.concat_tables(
        [
            pq.read_table(p, partitioning=None)
            for p in (lake / "accounts" / bucket).glob("*.parquet")
        ]
    )["client_id"]
    gone = pa.array(sorted(set(names.to_pylist()))[::2])
    for path in sorted(lake.glob(f"*/{bucket}/*.parquet")):
        rows = pq.read_table(path, partitioning=None)
        if "client_id" in rows.column_names:
            kept = pc.invert(pc.is_in(rows["client_id"], value_set=gone))
            pq.write_table(rows.filter(kept), path)
    state, against = judged(lake, base.days[1])
    assert state in ("held", "blocked")
    assert "vanished_ratio" in against


TYPOS = {
    "commercial_margin_bps": {"value": 1200},
    "structural_multiple_ratio": {"value": "35.0"},
    "tier_cap_ratio": {"values": ["1.00", "0.09", "0.08", "0.07", "0.05", "0.04", "0.02"]},
    "diversification_floor_ratio": {"value": "6.00"},
    "tail_ratio": {"value": "0.99"},
    "structural_chance_by_tier_ratio": {"values": ["0.0005"] * 7},
}
"""A digit too many or a point misplaced in a house value."""
EFFECTS = {
    "commercial_margin_bps": "rate_mean_change_bps",
    "structural_multiple_ratio": "stepped_down_ratio",
    "tier_cap_ratio": "stepped_down_ratio",
    "diversification_floor_ratio": "stepped_down_ratio",
    "structural_chance_by_tier_ratio": "stepped_down_ratio",
}
"""What each does to a night; joint paths bound limits too: ``tail_ratio`` moves them little."""


def mistyped(name):
    document, house = (copy.deepcopy(d) for d in shipped_documents("us"))
    house["from_first_date"][name].update(TYPOS[name])
    return build_pack(document, house)


@pytest.mark.parametrize("name", TYPOS)
def test_a_policy_typo_is_held_as_unapproved_and_by_what_it_does(base, lake, name):
    pack = mistyped(name)
    state, against = judged(lake, base.days[1], pack=pack)
    assert state in ("held", "blocked")
    assert "policy_unapproved" in against
    assert name not in EFFECTS or EFFECTS[name] in against
    assert pack.sha256[:16] in against["policy_unapproved"].measured.detail


@pytest.mark.parametrize("name", EFFECTS)
def test_a_policy_typo_that_two_people_approved_is_still_held_by_what_it_does(base, lake, name):
    pack = mistyped(name)
    body = {"pack": "us", "sha256": pack.sha256, "proposal_id": "p", "content_sha256": "0" * 64}
    with Ledger.open(lake / "ledger.sqlite") as ledger:
        ledger.append([{"kind": "policy_approved", "body": body}])
    state, against = judged(lake, base.days[1], pack=pack)
    assert state in ("held", "blocked")
    assert "policy_unapproved" not in against
    assert EFFECTS[name] in against


def flipped(bundle: Bundle, monotone: bool) -> Bundle:
    """The bundle with one table's sign changed: the widest that has a direction, or has none."""
    effects = list(bundle.head.effects)
    kinds = [any(bundle.directions[f] for f in e.features) for e in effects]
    fit = [k for k, directed in enumerate(kinds) if directed is monotone]
    widest = max(fit, key=lambda k: int(np.ptp(effects[k].score)))
    old = effects[widest]
    effects[widest] = replace(old, constant=-old.constant, score=-old.score, first=-old.first)
    return replace(bundle, head=replace(bundle.head, effects=tuple(effects)))


def test_a_sign_flipped_in_a_scorer_table_is_blocked_with_its_witness(base, lake):
    other = flipped(Bundle.read(lake / "bundle"), monotone=True)
    other.write(lake / "bundle-2")
    state, against = judged(lake, base.days[1], bundle="bundle-2")
    assert state == "blocked"
    assert against["monotone_breaches"].measured.detail
    assert "bundle_unreleased" in against


@pytest.mark.parametrize(
    ("table", "column"),
    [("balances", "cash_amt"), ("balances", "debt_amt"), ("contracts", "outstanding_amt")],
)
def test_a_sign_flipped_in_a_table_of_the_lake_is_held(base, lake, table, column):
    def flip(rows):
        place = rows.schema.get_field_index(column)
        kind = rows.schema.field(column)
        return rows.set_column(place, kind, pc.negate(rows[column]).cast(kind.type))

    rewrite(lake / table, flip)
    state, against = judged(lake, base.days[1])
    assert state in ("held", "blocked"), (table, column)
    assert against


def test_a_verdict_is_the_same_bytes_when_it_is_made_again(base, lake):
    [run] = decide(lake, [base.days[1]])
    first, second = (
        publish_run(lake, lake / "ledger.sqlite", run.run_id, dry_run=True) for _ in range(2)
    )
    assert canonical_bytes(first.verdict.to_json()) == canonical_bytes(second.verdict.to_json())
