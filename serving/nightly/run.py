"""One night: first pass, snapshot, decisions bucket by bucket, sealed in the ledger."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from data_contracts.decision import DECISION_ENGINE_VERSION
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.lake import decimal_to_int, read_table
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import RATIO_ONE, IntArray
from features.asof import BookHistory
from features.book import BookAsOf
from features.build import build_frame
from features.panel import PricePanel
from features.sets import feature_set
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.decide import decide_columns
from models.law.firm import quota_by_law
from models.margin.book import book_columns
from models.margin.limits import book_limits
from models.margin.security import FirmTerms, MarketHistory
from models.policy import Pack, Policy
from models.price.rate import loss_given_default, risk_components
from serving.ledger import Ledger, Location
from serving.nightly.cases import books, nightly_cases
from serving.nightly.crowding import with_crowding
from serving.nightly.previous import previous_decisions
from serving.nightly.record import check_same, recorded, sealed_digests
from serving.nightly.segments import DECISIONS_FILE, segment_table, write_segment

RUNS_FOLDER: Final = "runs"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunReport:
    """What a night did. ``decisions_sha256`` is over all decision hashes in bucket and row order.

    ``repeated`` says that the night was on record already and nothing was added.
    """

    run_id: str
    as_of: dt.date
    decisions: int
    decisions_sha256: str
    segments: tuple[Path, ...]
    market_sha256: str
    repeated: bool = False


def date_of(session: np.datetime64) -> dt.date:
    """A session of the panel as a date."""
    day: dt.date = session.astype("datetime64[D]").item()
    return day


def effective_date(panel: PricePanel, t: int) -> dt.date:
    """The session after row t; past the calendar's end, the next weekday."""
    if t + 1 < len(panel.sessions):
        return date_of(panel.sessions[t + 1])
    day = date_of(panel.sessions[t]) + dt.timedelta(days=1)
    while day.weekday() > 4:
        day += dt.timedelta(days=1)
    return day


def firm_terms(root: Path, as_of: dt.date, policy: Policy) -> FirmTerms:
    """Capital, headroom and utilisation: the lake's last ``firm_state`` at or before a day.

    The quota counts no further than the law lets the firm's capital carry it.
    """
    table = read_table(root, "firm_state")
    table = table.filter(pc.less_equal(table["session"], as_of)).sort_by("session")
    if table.num_rows == 0:
        raise InputError(
            f"{root}: firm_state has no row at or before {as_of};"
            " add the lender's capital and quota"
        )
    last = table.slice(table.num_rows - 1)
    capital, quota, drawn = (
        int(decimal_to_int(last[n])[0]) for n in ("net_capital_amt", "quota_amt", "drawn_amt")
    )
    quota = quota_by_law(quota, capital, policy)
    used = drawn * RATIO_ONE // quota if quota > 0 else RATIO_ONE
    return FirmTerms(capital, max(quota - drawn, 0), min(used, RATIO_ONE))


def funding_bps(root: Path, as_of: dt.date) -> int | None:
    """The curve's shortest tenor of at least 30 days, last known at a day; None without one."""
    if not (root / "rates").is_dir():
        return None
    table = read_table(root, "rates", columns=["session", "tenor_days", "rate_bps"])
    table = table.filter(
        pc.and_(pc.less_equal(table["session"], as_of), pc.greater_equal(table["tenor_days"], 30))
    )
    if table.num_rows == 0:
        return None
    ordered = table.sort_by([("session", "descending"), ("tenor_days", "ascending")])
    return int(ordered["rate_bps"][0].as_py())


@dataclass(frozen=True)
class _FirstPass:
    views: list[BookAsOf]
    frames: list[FeatureFrame]
    tiers: list[IntArray]
    shifts: tuple[int, ...]


def _tier_shifts(tiers: IntArray, risk_bps: IntArray) -> tuple[int, ...]:
    """One shift per tier so that the mean risk charge with it never falls along the tiers."""
    shifts, highest, last = [], 0, 0
    for tier in range(1, 8):
        here = risk_bps[tiers == tier]
        mean = int(here.sum()) // len(here) if len(here) else highest
        last = max(last, highest - mean)
        shifts.append(last)
        highest = max(highest, mean + last)
    return tuple(shifts)


def _first_pass(
    histories: Sequence[BookHistory],
    as_of: dt.date,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
) -> _FirstPass:
    chosen = feature_set(str(bundle.features["feature_set"]))
    views, frames, tiers, risks = [], [], [], []
    for history in histories:
        view = history.as_of(as_of)
        frame = build_frame(view, chosen)
        pd = bundle.calibration.of_score(bundle.head.score(frame.values))[0]
        tier = tier_of_pd(pd, bundle.tier_edges)
        limits = book_limits(book_columns(books(view), market), market, policy)
        expected, capital = risk_components(
            pd, loss_given_default(limits.portfolio_gap, policy), policy
        )
        views.append(view)
        frames.append(frame)
        tiers.append(tier)
        risks.append(expected + capital)
    shifts = _tier_shifts(np.concatenate(tiers), np.concatenate(risks))
    return _FirstPass(views, frames, tiers, shifts)


def run_name(as_of: dt.date, bundle: Bundle, pack: Pack) -> str:
    """The run's name: the same inputs give the same run, so a repeated night doubles nothing."""
    return f"{as_of.isoformat()}-{bundle.sha256[:8]}-{pack.sha256[:8]}"


def _report(
    root: Path, started: dict[str, Any], finished: dict[str, Any], *, repeated: bool
) -> RunReport:
    return RunReport(
        run_id=finished["run_id"],
        as_of=dt.date.fromisoformat(finished["as_of"]),
        decisions=finished["decisions"],
        decisions_sha256=finished["decisions_sha256"],
        segments=tuple(root / s for s in finished["segments"]),
        market_sha256=started["market"],
        repeated=repeated,
    )


def reprice(
    root: Path,
    as_of: dt.date,
    *,
    histories: Sequence[BookHistory],
    markets: MarketHistory,
    bundle: Bundle,
    bundle_path: str,
    pack: Pack,
    ledger: Ledger | None,
    record: Location | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Decide on every client of the lake as of a session.

    Parameters
    ----------
    histories : the lake's buckets, in order
    bundle_path : where the bundle lies, relative to the lake, for replay
    ledger : None computes everything and writes nothing (a dry run)
    record : the ledger that a dry run takes the previous decisions from

    Notes
    -----
    A night that is already recorded is not decided again. One that was broken off goes on after its
    last sealed bucket.

    Raises
    ------
    InputError
        If the session, the pack's dates or the inputs do not fit together.
    """
    panel = markets.panel
    t = panel.session_index(np.datetime64(as_of))
    session = date_of(panel.sessions[t])
    policy = pack.on(effective_date(panel, t))
    run_id = run_name(session, bundle, pack)
    known = recorded(record if ledger is None else ledger.where, run_id, session)
    if ledger is not None and known.started is not None and known.finished is not None:
        return _report(root, known.started, known.finished, repeated=True)
    firm, funding = firm_terms(root, session, policy), funding_bps(root, session)
    unshifted = with_crowding(markets.snapshot(t, policy, firm, funding), root, policy)
    first = _first_pass(histories, session, bundle, policy, unshifted)
    firm = FirmTerms(firm.net_capital_amt, firm.headroom_amt, firm.utilisation, first.shifts)
    market = with_crowding(markets.snapshot(t, policy, firm, funding), root, policy)

    folder = root / RUNS_FOLDER / run_id
    previous = {}
    if known.last is not None:
        files = [root / f for f in known.last["segments"]]
        last_day = dt.date.fromisoformat(known.last["as_of"])
        previous = previous_decisions(files, panel, last_day, session)
    if ledger is not None:
        started = {
            "run_id": run_id,
            "as_of": session.isoformat(),
            "effective_on": policy.effective_on.isoformat(),
            "engine_version": DECISION_ENGINE_VERSION,
            "bundle": bundle.sha256,
            "bundle_path": known.started["bundle_path"] if known.started else bundle_path,
            "policy": pack.name,
            "policy_sha256": policy.sha256,
            "feature_set": bundle.feature_set_sha256,
            "market": market.sha256,
            "previous_run": None if known.last is None else known.last["run_id"],
        }
        check_same(known.started, started)
        ledger.append(
            [{"kind": "run_started", "body": started}], idempotency_keys=[f"started/{run_id}"]
        )
        # after the entry, so that a changed market never overwrites the one that was decided on
        market.write(folder / "market")
    digest, total, segments = hashlib.sha256(), 0, []
    for bucket, (view, frame, tiers) in enumerate(
        zip(first.views, first.frames, first.tiers, strict=True)
    ):
        relative = f"{RUNS_FOLDER}/{run_id}/bucket={bucket:03d}/{DECISIONS_FILE}"
        sealed = None if ledger is None else ledger.position_of(f"segment/{run_id}/{bucket}")
        if ledger is not None and sealed is not None:
            digests = sealed_digests(ledger, sealed, root / relative)
        else:
            cases = nightly_cases(
                view, run_id=run_id, currency=panel.currency, own_tier=tiers, previous=previous
            )
            made = decide_columns(cases, frame, bundle, policy, market)
            if ledger is None:
                digests = segment_table(made)["decision_sha256"].to_pylist()
            else:
                written = write_segment((root / relative).parent, made)
                digests = written["decision_sha256"].to_pylist()
                ledger.seal_segment(
                    run_id=run_id,
                    bucket=bucket,
                    file=relative,
                    decisions_sha256=digests,
                    base_dir=root,
                )
        for d in digests:
            digest.update(d)
        total += len(digests)
        segments.append(relative)
        if progress:
            progress(bucket + 1, len(histories))
    finished = {
        "run_id": run_id,
        "as_of": session.isoformat(),
        "decisions": total,
        "decisions_sha256": digest.hexdigest(),
        "segments": segments,
    }
    if ledger is not None:
        ledger.append(
            [{"kind": "run_finished", "body": finished}], idempotency_keys=[f"finished/{run_id}"]
        )
    return _report(root, {"market": market.sha256}, finished, repeated=False)
