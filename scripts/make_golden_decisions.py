"""Write the 1,000 golden decisions under tests/golden: run it only with a new DECISION_ENGINE_VERSION.

    .venv/bin/python scripts/make_golden_decisions.py

500 come from two nights of a small demo on the bundled US sample (a crash and a calm one), 500 from
generated Chinese books on a generated market on the eve of each change of the financing margin
ratio: gates, related groups, previous decisions, overrides, requests, grandfathered contracts.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_contracts.case import (  # noqa: E402
    Book,
    Case,
    Holding,
    Loan,
    Override,
    Previous,
    RelatedGroup,
    Request,
    Status,
)
from data_contracts.decision import DECISION_ENGINE_VERSION  # noqa: E402
from data_contracts.feature_frame import FeatureFrame  # noqa: E402
from data_contracts.snapshot import MarketSnapshot  # noqa: E402
from data_contracts.units import NULL, IntArray  # noqa: E402
from features.panel import PricePanel  # noqa: E402
from models.bundle import Bundle  # noqa: E402
from models.decide import decide_columns  # noqa: E402
from models.decide.body import bodies  # noqa: E402
from models.margin.security import FirmTerms, MarketHistory  # noqa: E402
from models.policy import Policy, load_pack  # noqa: E402
from serving.nightly.segments import read_inputs, write_segment  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
SEED = 20150612
US_NIGHTS = {"2020-04": 250, "2021-12": 250}
CN_EVES = {"2015-11-20": 167, "2023-09-08": 167, "2026-01-16": 166}
READABLE = 3


def save(
    name: str,
    cases: list[Case],
    values: IntArray,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
) -> None:
    """Write one set: market, inputs, decisions, and a few bodies to read."""
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(c.client_id for c in cases),
        market.session,
        values,
    )
    folder = GOLDEN / name
    market.write(folder / "market")
    made = decide_columns(cases, frame, bundle, policy, market)
    write_segment(folder, made)
    (folder / "set.json").write_bytes(
        orjson.dumps(
            {
                "policy": policy.pack,
                "effective_on": policy.effective_on.isoformat(),
                "decisions": len(cases),
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
    )
    shown = [body for _, body in zip(range(READABLE), bodies(made), strict=False)]
    (folder / "readable.json").write_bytes(
        orjson.dumps(
            shown, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        )
    )


def us_sets(folder: Path) -> None:
    """Decisions of a demo's nights, evenly spaced over the clients."""
    bundle = Bundle.read(folder / "bundle")
    bundle.write(GOLDEN / "bundle")
    for night, count in US_NIGHTS.items():
        run = sorted(folder.glob(f"runs/{night}*"))[0]
        market = MarketSnapshot.read(run / "market")
        cases, values = [], []
        for bucket in sorted(run.glob("bucket=*")):
            rows = pq.read_metadata(bucket / "inputs.parquet").num_rows
            c, v = read_inputs(bucket, list(range(rows)))
            cases += c
            values.append(v)
        keep = np.linspace(0, len(cases) - 1, count).astype(int)
        effective = pq.read_table(run / "bucket=000" / "decisions.parquet")["effective_on"][
            0
        ].as_py()
        save(
            f"us-{market.session}",
            [cases[k] for k in keep],
            np.concatenate(values)[keep],
            bundle,
            load_pack("us").on(effective),
            market,
        )


def generated_market(eve: dt.date, rng: np.random.Generator) -> MarketSnapshot:
    """A made-up A-share market of 30 names with price limits, one suspended, two under special treatment."""
    t, n = 400, 30
    day = np.datetime64(eve) - np.arange(t)[::-1].astype("timedelta64[D]")
    limit = np.where(np.arange(n) % 5 == 4, 0.2, 0.1)
    moves = np.clip(rng.normal(0.0, 0.025, (t, n)) + rng.normal(0.0, 0.015, (t, 1)), -limit, limit)
    close = np.rint(np.exp(np.cumsum(np.log1p(moves), axis=0)) * rng.uniform(4, 60, n) * 100) * 100
    flag = np.zeros((t, n), dtype=bool)
    special, suspended, eligible = flag.copy(), flag.copy(), ~flag
    special[:, :2] = True
    suspended[-5:, 2] = True
    eligible[:, :3] = False
    haircut = np.full((t, n), NULL)
    haircut[:, 10:20] = 700_000
    panel = PricePanel(
        mic="XSHG",
        currency="CNY",
        sessions=day,
        close_at=day.astype("datetime64[us]") + np.timedelta64(7, "h"),
        symbols=tuple(f"6{k:05d}" for k in range(n)),
        close=close.astype(np.int64),
        pre_close=np.full((t, n), NULL),
        volume_shares=np.full((t, n), NULL),
        suspended=suspended,
        price_limit=np.broadcast_to((limit * 1_000_000).astype(np.int64), (t, n)).copy(),
        haircut=haircut,
        margin_eligible=eligible,
        collateral_eligible=~flag,
        special_treatment=special,
        board=tuple("star" if k % 5 == 4 else "main" for k in range(n)),
        index_close=np.full(t, NULL),
    )
    policy = load_pack("cn").on(eve + dt.timedelta(days=1))
    firm = FirmTerms(4_000_000_000_00, 900_000_000_00, 870_000, (0, 0, 1, 2, 4, 8, 15))
    return MarketHistory(panel).snapshot(t - 1, policy, firm, 310)


def generated_book(
    rng: np.random.Generator, market: MarketSnapshot, eve: dt.date, name: str
) -> Book:
    """A book of up to six names, some bought on credit at an older or newer ratio."""
    held = rng.choice(len(market.symbols), size=rng.integers(0, 7), replace=False)
    holdings, loans = [], []
    for k in sorted(held.tolist()):
        shares = int(rng.integers(1, 400)) * 100
        holdings.append(Holding(market.symbols[k], shares))
        if rng.random() < 0.6:
            financed = int(rng.integers(1, shares // 100 + 1)) * 100
            paid = int(financed * int(market.price[k]) // 100 * rng.uniform(0.7, 1.5))
            opened = eve - dt.timedelta(days=int(rng.integers(1, 170)))
            loans.append(
                Loan(
                    contract_id=f"{name}-{k}",
                    symbol=market.symbols[k],
                    kind="financing",
                    opened_on=opened,
                    due_on=opened + dt.timedelta(days=180),
                    quantity_shares=financed,
                    outstanding_amt=paid,
                    accrued_amt=paid // 500,
                    ratio_at_opening=int(rng.choice([500_000, 750_000, 800_000, 1_000_000])),
                    rate_bps=int(rng.integers(400, 900)),
                    rule_pack="cn",
                )
            )
    return Book(int(rng.integers(0, 3_000_000_00)), tuple(holdings), tuple(loans))


def generated_case(
    rng: np.random.Generator, market: MarketSnapshot, eve: dt.date, number: int
) -> Case:
    """A case that meets gates, groups, previous decisions, overrides and requests now and then."""
    name = f"G{number:06d}"
    chance = rng.random(8)
    group = previous = override = None
    if chance[0] < 0.2:
        others = tuple(
            generated_book(rng, market, eve, f"{name}-o{k}") for k in range(int(rng.integers(1, 4)))
        )
        group = RelatedGroup(f"R{number}", others, int(rng.integers(1, 8)))
    if chance[1] < 0.6:
        tier = int(rng.integers(1, 8))
        previous = Previous(
            soft_cap_amt=int(rng.integers(0, 5_000_000_00)),
            rate_bps=int(rng.integers(350, 900)),
            tier=tier,
            candidate_tier=int(np.clip(tier + rng.integers(-1, 2), 1, 7)),
            candidate_sessions=int(rng.integers(0, 6)),
            month_change_bps=int(rng.integers(-50, 51)),
            quarter_changes=int(rng.integers(0, 4)),
            sessions_since=int(rng.integers(1, 4)),
        )
    if chance[2] < 0.05:
        override = Override(int(rng.integers(0, 1_000_000_00)), f"P{number}", f"D{number}")
    application = chance[3] < 0.3
    return Case(
        request=Request(
            "application" if application else "nightly",
            f"golden-{eve}" if not application else f"application-{number}",
            int(rng.integers(0, 6_000_000_00)) if application else None,
        ),
        client_id=name,
        account_id=f"A{name}",
        currency="CNY",
        as_of=eve,
        known_at=dt.datetime.combine(eve, dt.time(10), dt.UTC),
        status=Status(
            kyc_expires_on=None
            if chance[4] < 0.03
            else eve + dt.timedelta(days=int(rng.integers(-20, 400))),
            suitability_level=None
            if chance[5] < 0.02
            else int(rng.choice([2, 3, 4, 5], p=[0.05, 0.35, 0.35, 0.25])),
            pep=bool(rng.random() < 0.03),
            sanctioned=bool(rng.random() < 0.02),
            aml_level=str(rng.choice(["low", "medium", "high"], p=[0.9, 0.07, 0.03])),
            automated_decision_refused=bool(rng.random() < 0.03),
            margin_state=str(
                rng.choice(["clear", "called", "overdue", "defaulted"], p=[0.9, 0.05, 0.03, 0.02])
            ),  # type: ignore[arg-type]
        ),
        book=Book(int(rng.integers(0, 2_000_000_00)))
        if chance[6] < 0.08
        else generated_book(rng, market, eve, name),
        group=group,
        previous=previous,
        override=override,
    )


def cn_sets(values: IntArray) -> None:
    """Generated decisions on the eve of each change, with features drawn from the US ones."""
    bundle = Bundle.read(GOLDEN / "bundle")
    rng = np.random.default_rng(SEED)
    pack = load_pack("cn")
    for day, count in CN_EVES.items():
        eve = dt.date.fromisoformat(day)
        market = generated_market(eve, rng)
        effective = eve + dt.timedelta(days=3)
        cases = [generated_case(rng, market, eve, k) for k in range(count)]
        drawn = values[rng.integers(0, len(values), count)].copy()
        drawn[rng.random(drawn.shape) < 0.05] = NULL
        save(f"cn-{day}", cases, drawn, bundle, pack.on(effective), market)


def main() -> None:
    """Remake everything under tests/golden."""
    import gearline

    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "demo"
        code = gearline.main(["demo", "--clients", "700", "--seed", "11", "--out", str(out)])
        if code:
            raise SystemExit(code)
        us_sets(out)
    values = np.concatenate(
        [
            read_inputs(folder, list(range(pq.read_metadata(folder / "inputs.parquet").num_rows)))[
                1
            ]
            for folder in sorted(GOLDEN.glob("us-*"))
        ]
    )
    cn_sets(values)
    (GOLDEN / "engine_version").write_text(DECISION_ENGINE_VERSION + "\n")


if __name__ == "__main__":
    main()
