"""From two sealed nights and the record around them to the figures that the gate judges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import CHECK_FILE, QUARANTINE
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, BoolArray, IntArray
from models.gate import Measured
from models.gate import measures as m
from models.stability import SCORE
from serving.ledger import LedgerReader
from serving.nightly.gate.night import Night, read_night
from serving.nightly.publishing.history import History, Run, find_run
from serving.nightly.segments import read_decisions

VOLUME_SESSIONS: Final = 20
"""Sessions of the average daily volume."""
LABEL_SESSIONS: Final = 60
"""A default is an event within so many sessions; ``in_default`` looks back as far."""
LABEL_SLACK: Final = 5
"""A night so many sessions older than that still serves as the matured one."""


@dataclass(frozen=True)
class Check:
    """How the last data check of a lake ended; None figures where it never ran."""

    stopped: dict[str, str] | None
    quarantined: int | None
    rows: int | None


def last_check(root: Path) -> Check:
    """Read ``LAKE/quarantine/check.json``."""
    path = root / QUARANTINE / CHECK_FILE
    try:
        found = orjson.loads(path.read_bytes())
        return Check(dict(found["stopped"]), found.get("quarantined"), found.get("rows"))
    except FileNotFoundError:
        return Check(None, None, None)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path} is damaged; run `gearline data check {root}` again") from None


def average_volumes(root: Path, as_of: dt.date) -> dict[str, int]:
    """Mean daily volume of each name over the last sessions known by a day, shares."""
    if not (root / "bars").is_dir():
        return {}
    sql = f"""
        WITH latest AS (
          SELECT symbol, session, arg_max(volume_shares, known_at) AS volume
          FROM read_parquet($files, hive_partitioning = false)
          WHERE session <= $day AND session > $day - 60 GROUP BY symbol, session),
        days AS (SELECT DISTINCT session FROM latest ORDER BY session DESC
                 LIMIT {VOLUME_SESSIONS})
        SELECT symbol, CAST(avg(volume) AS BIGINT) FROM latest
        WHERE session IN (SELECT session FROM days) AND volume IS NOT NULL
        GROUP BY symbol ORDER BY symbol"""
    with duckdb.connect() as db:
        files = f"{root}/bars/**/*.parquet"
        return dict(db.execute(sql, {"files": files, "day": as_of}).fetchall())


def sessions_between(root: Path, first: dt.date, last: dt.date) -> int | None:
    """Sessions after one day up to another, None without a calendar."""
    if not (root / "sessions").is_dir():
        return None
    sql = """SELECT count(DISTINCT session) FROM read_parquet($files, hive_partitioning = false)
             WHERE session > $first AND session <= $last"""
    with duckdb.connect() as db:
        files = f"{root}/sessions/**/*.parquet"
        [(count,)] = db.execute(sql, {"files": files, "first": first, "last": last}).fetchall()
    return int(count)


def unexplained(root: Path, before: Night, now: Night) -> int:
    """Clients of the published night whom tonight's does not know, and who closed no account."""
    known = pc.is_in(before.client_ids, value_set=now.client_ids)
    gone = before.client_ids.filter(pc.invert(known))
    if not len(gone) or not (root / "accounts").is_dir():
        return len(gone)
    sql = """SELECT DISTINCT client_id FROM read_parquet($files, hive_partitioning = false)
             WHERE closed_on <= $day"""
    with duckdb.connect() as db:
        files = f"{root}/accounts/**/*.parquet"
        closed = [c for (c,) in db.execute(sql, {"files": files, "day": now.as_of}).fetchall()]
    return len(gone) - int(pc.sum(pc.is_in(gone, value_set=pa.array(closed, pa.string()))).as_py())


def places(before: Night, now: Night) -> tuple[IntArray, IntArray]:
    """Rows of the clients of both nights, aligned, in tonight's order."""
    found = pc.index_in(now.client_ids, value_set=before.client_ids)
    at = np.asarray(found.fill_null(-1)).astype(np.int64)
    return at[at >= 0], np.flatnonzero(at >= 0)


def both_nights(before: Night, now: Night) -> m.Both:
    """The columns of the clients of both nights."""
    at0, at1 = places(before, now)
    edges = now.bundle.tier_edges
    return m.Both(
        cap0=before.money["max_debt_amt"][at0],
        cap1=now.money["max_debt_amt"][at1],
        target0=before.target[at0],
        target1=now.target[at1],
        debt0=before.money["debt_amt"][at0],
        debt1=now.money["debt_amt"][at1],
        rate_target0=before.rate_target[at0],
        rate_target1=now.rate_target[at1],
        tier0=before.tier[at0],
        tier1=now.tier[at1],
        own_tier0=before.own_tier(edges)[at0],
        own_tier1=now.own_tier(edges)[at1],
    )


def _prices(market: MarketSnapshot, symbols: tuple[str, ...]) -> IntArray:
    return np.array(
        [int(market.price[market.index[s]]) if s in market.index else NULL for s in symbols],
        dtype=np.int64,
    )


def _shares(night: Night, symbols: tuple[str, ...]) -> IntArray:
    total = np.zeros(len(night.names), dtype=np.int64)
    np.add.at(total, night.lot_name, night.lot_shares)
    held = dict(zip(night.names, total.tolist(), strict=True))
    return np.array([held.get(s, 0) for s in symbols], dtype=np.int64)


def names_of(before: Night, now: Night) -> m.Names:
    """Prices and shares of every name that either night held."""
    symbols = tuple(sorted({*before.names, *now.names}))
    return m.Names(
        symbols,
        _prices(before.market, symbols),
        _prices(now.market, symbols),
        _shares(before, symbols),
        _shares(now, symbols),
    )


def _holdings(before: Night, now: Night) -> tuple[IntArray, IntArray]:
    """One number a client and name held, on each night, of the clients of both."""
    at0, at1 = places(before, now)
    known = {s: k for k, s in enumerate(sorted({*before.names, *now.names}))}
    found = []
    for night, at in ((before, at0), (now, at1)):
        place = np.full(len(night), -1, dtype=np.int64)
        place[at] = np.arange(len(at))
        code = np.array([known[s] for s in night.names], dtype=np.int64)
        client = place[night.lot_client]
        numbers = client * len(known) + (code[night.lot_name] if len(code) else 0)
        found.append(numbers[client >= 0])
    return found[0], found[1]


def _at_floor(before: Night, now: Night) -> tuple[BoolArray, BoolArray]:
    """Which clients of both nights stop at the step, on each."""
    at0, at1 = places(before, now)
    floors = [m.at_floor(n.money["soft_cap_amt"], n.soft_floor) for n in (before, now)]
    return floors[0][at0], floors[1][at1]


def _lots(before: Night, now: Night) -> m.Lots:
    """Tonight's holdings of the common clients."""
    _, at1 = places(before, now)
    place = np.full(len(now), -1, dtype=np.int64)
    place[at1] = np.arange(len(at1))
    common = place[now.lot_client] >= 0
    return m.Lots(place[now.lot_client[common]], now.lot_name[common], now.lot_shares[common])


@dataclass(frozen=True)
class Matured:
    """A night old enough that its 60-session labels are known, and what became of it."""

    run_id: str
    predicted_e9: IntArray
    defaulted: BoolArray


def matured(root: Path, reader: LedgerReader, now: Night) -> Matured | None:
    """The latest night of the same bundle whose labels have matured tonight.

    Of clients with a debt or an open limit and not in default then, who are still on the book.
    Tonight's margin state says who defaulted: it looks back over the same 60 sessions.
    """
    for entry in reader.latest("kind/run_finished", 10_000):
        day = dt.date.fromisoformat(str(entry.body["as_of"]))
        if day >= now.as_of:
            continue
        apart = sessions_between(root, day, now.as_of)
        if apart is None or not LABEL_SESSIONS <= apart <= LABEL_SESSIONS + LABEL_SLACK:
            continue
        run = find_run(reader, str(entry.body["run_id"]))
        if run.started["bundle"] != now.started["bundle"]:
            continue
        names = ["client_id", "score", "tier", "debt_amt", "max_debt_amt"]
        table = pa.concat_tables(
            [
                read_decisions(root / s, names).set_column(
                    2, "tier", read_decisions(root / s, ["tier"])["tier"].cast(pa.string())
                )
                for s in run.finished["segments"]
            ]
        )
        known = pc.index_in(
            table["client_id"].combine_chunks().cast(pa.string()), value_set=now.client_ids
        )
        at = np.asarray(known.fill_null(-1)).astype(np.int64)
        exposed = pc.or_(pc.greater(table["debt_amt"], 0), pc.greater(table["max_debt_amt"], 0))
        fine = pc.and_(exposed, pc.not_equal(table["tier"], "D"))
        use = np.asarray(fine) & (at >= 0)
        predicted = now.bundle.calibration.default_60_of_score(np.asarray(table["score"])[use])
        return Matured(run.run_id, predicted, now.defaulted[at[use]])
    return None


def _approved(reader: LedgerReader, kind: str, key: str, value: str) -> bool:
    return any(e.body.get(key) == value for e in reader.latest(f"kind/{kind}", 10_000))


@dataclass(frozen=True)
class Study:
    """A night, the one it is judged against, the matured one, and every figure."""

    now: Night
    before: Night | None
    labels: Matured | None
    measured: Mapping[str, Measured]


def _of_night(root: Path, now: Night, check: Check, published: History) -> dict[str, Measured]:
    witnesses = now.bundle.breaches()
    stopped, rows = check.stopped, check.rows
    share = None
    if check.quarantined is not None and rows:
        share = -(-check.quarantined * 1_000_000 // rows)
    never = f"the data of this lake were never checked; run `gearline data check {root}`"
    return {
        "contract_stopped": Measured(
            None if stopped is None else len(stopped),
            never if stopped is None else "; ".join(stopped.values())[:300],
        ),
        "quarantined_ratio": Measured(
            share, never if share is None else f"{check.quarantined} of {rows}"
        ),
        "monotone_breaches": Measured(len(witnesses), str(witnesses[0]) if witnesses else ""),
        "rolled_back": Measured(int(now.run_id in published.withdrawn)),
    }


def _compared(root: Path, reader: LedgerReader, before: Night, now: Night) -> dict[str, Measured]:
    both = both_nights(before, now)
    same_set = before.bundle.feature_set_sha256 == now.bundle.feature_set_sha256
    volumes = average_volumes(root, now.as_of)
    adv = np.array([volumes.get(s, NULL) for s in now.names], dtype=np.int64)
    other_bundle = before.started["bundle"] != now.started["bundle"]
    bundle = str(now.started["bundle"])
    other_policy = before.started["policy_sha256"] != now.started["policy_sha256"]
    policy = str(now.started["policy_sha256"])
    released = not other_bundle or _approved(reader, "model_released", "bundle", bundle)
    approved = not other_policy or _approved(reader, "policy_approved", "sha256", policy)
    features = [n for n in now.cells if n != SCORE]
    return {
        "vanished_ratio": m.vanished(len(before), unexplained(root, before, now)),
        "positions_lost_ratio": m.lost(*_holdings(before, now)),
        "missing_rise_ratio": m.missing_rise(
            now.bundle.names, before.missing, len(before), now.missing, len(now)
        )
        if same_set
        else Measured(None, "the nights have other feature sets"),
        "price_jump_ratio": m.price_jump(names_of(before, now)),
        "debt_change_ratio": m.debt_change(both),
        "cap_moved_ratio": m.caps_moved(both),
        "cap_mean_change_ratio": m.mean_cap_change(both),
        "stepped_down_ratio": m.stepped_down(*_at_floor(before, now)),
        "rate_mean_change_bps": m.mean_rate_change(both),
        "tier_moved_ratio": m.tiers_moved(both),
        "own_tier_moved_ratio": m.own_tiers_moved(both),
        "tier_psi_ratio": m.tier_psi(both),
        "features_shifted_ratio": m.features_shifted(
            {n: before.cells[n] for n in features if n in before.cells},
            {n: now.cells[n] for n in features},
        ),
        "fire_sale_adv_ratio": m.fire_sale(
            both, _lots(before, now), _prices(now.market, now.names), adv, now.names
        ),
        "bundle_unreleased": Measured(int(not released), bundle[:16]),
        "policy_unapproved": Measured(int(not approved), policy[:16]),
    }


COMPARED: Final = (
    "vanished_ratio", "positions_lost_ratio", "missing_rise_ratio", "price_jump_ratio",
    "debt_change_ratio", "cap_moved_ratio", "cap_mean_change_ratio", "stepped_down_ratio",
    "rate_mean_change_bps",
    "tier_moved_ratio", "own_tier_moved_ratio", "tier_psi_ratio", "features_shifted_ratio",
    "fire_sale_adv_ratio", "bundle_unreleased", "policy_unapproved",
)  # fmt: skip
"""Figures that need a published night to compare with."""


def study(root: Path, reader: LedgerReader, run: Run, published: History) -> Study:
    """Read a run, the published one and the matured one; have every figure of the gate.

    Raises
    ------
    InputError
        If a segment, a bundle or a snapshot that is needed is missing or damaged.
    """
    now = read_night(root, run.started, run.finished)
    base = published.before if published.current == run.run_id else published.current
    before = None
    if base is not None:
        old = find_run(reader, base)
        before = read_night(root, old.started, old.finished, now.frozen or None)
    labels = matured(root, reader, now)
    measured = _of_night(root, now, last_check(root), published)
    if before is None:
        nothing = Measured(None, "no night is published yet; there is nothing to compare with")
        measured |= dict.fromkeys(COMPARED, nothing)
    else:
        measured |= _compared(root, reader, before, now)
    measured["calibration_ratio"] = (
        Measured(None, "no labels have matured")
        if labels is None
        else m.calibration(labels.predicted_e9, labels.defaulted)
    )
    return Study(now, before, labels, measured)


__all__ = ["Matured", "Study", "both_nights", "names_of", "places", "study"]
