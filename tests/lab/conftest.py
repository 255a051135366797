"""Small markets with everything that makes trading awkward, and books that live on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_contracts.importers import write_sample_market
from data_contracts.units import NULL
from features.panel import PricePanel, load_panel
from tests.lab.markets import DAY, rough_panel, write_market
from training.lab import LabBook, simulate, write_lake
from training.lab.generated import GeneratedMarket, generate_traced
from training.lab.rules import MarginRules, cn_rules, reg_t_rules

SESSIONS, NAMES = 420, 14
FIRST = dt.date(2013, 7, 1)


def _panel(mic: str, currency: str, board: str, limit: int | None, close_hour: int) -> PricePanel:
    rng = np.random.default_rng(11)
    market = rng.normal(0.0012, 0.010, SESSIONS)
    market[250:285] = rng.normal(-0.017, 0.025, 35)  # a crash of about 45 %
    market[340:352] = rng.normal(-0.025, 0.030, 12)
    own = rng.normal(0.0, 1.0, (SESSIONS, NAMES)) * np.linspace(0.008, 0.035, NAMES)
    step = market[:, None] * np.linspace(0.6, 1.6, NAMES) + own
    if limit is not None:
        step = np.clip(step, -limit / 1e6, limit / 1e6)
    close = np.full((SESSIONS, NAMES), NULL, dtype=np.int64)
    pre = np.full((SESSIONS, NAMES), NULL, dtype=np.int64)
    suspended = np.zeros((SESSIONS, NAMES), dtype=bool)
    price = np.linspace(80_000, 900_000, NAMES).astype(np.int64) // 100 * 100
    for s in range(SESSIONS):
        reference = price.copy()
        if s == 120:
            reference[2] = price[2] // 200 * 100  # two for one
        if s == 200:
            reference[5] = price[5] * 97 // 10_000 * 100  # a cash dividend
        halted = np.zeros(NAMES, dtype=bool)
        halted[3] = 255 <= s < 275
        halted[7] = s % 50 == 49
        new = np.maximum(np.rint(reference * (1 + step[s]) / 100), 1).astype(np.int64) * 100
        price = np.where(halted, reference, new)
        close[s], pre[s], suspended[s] = price, reference, halted
    close[330:, 9] = NULL  # left the exchange
    close[:60, 11] = NULL  # not yet listed
    pre[close == NULL] = NULL
    suspended[close == NULL] = False
    days = np.busday_offset(np.datetime64(FIRST), np.arange(SESSIONS), roll="forward")
    shape = (SESSIONS, NAMES)
    return PricePanel(
        mic=mic,
        currency=currency,
        sessions=days,
        close_at=(days + np.timedelta64(close_hour, "h")).astype("datetime64[us]"),
        symbols=tuple(f"S{k:03d}" for k in range(NAMES)),
        close=close,
        pre_close=pre,
        volume_shares=np.full(shape, NULL, dtype=np.int64),
        suspended=suspended,
        price_limit=np.full(shape, NULL if limit is None else limit, dtype=np.int64),
        haircut=np.full(shape, NULL, dtype=np.int64),
        margin_eligible=np.ones(shape, dtype=bool),
        collateral_eligible=np.ones(shape, dtype=bool),
        special_treatment=np.zeros(shape, dtype=bool),
        board=(board,) * NAMES,
        index_close=np.full(SESSIONS, NULL, dtype=np.int64),
    )


@pytest.fixture(scope="session", params=["us", "cn"])
def lab_market(request: pytest.FixtureRequest) -> tuple[PricePanel, MarginRules]:
    if request.param == "us":
        return _panel("XNYS", "USD", "us", None, 21), reg_t_rules(SESSIONS)
    rules = replace(cn_rules(SESSIONS), initial_ratio_e6=np.full(SESSIONS, 600_000, dtype=np.int64))
    return _panel("XSHG", "CNY", "main", 100_000, 7), rules


@pytest.fixture(scope="session")
def run_lab(lab_market: tuple[PricePanel, MarginRules]) -> Callable[..., LabBook]:
    panel, rules = lab_market

    def run(
        clients: int = 300, seed: int = 5, threads: int = 1, market: PricePanel | None = None
    ) -> LabBook:
        days = panel.sessions
        return simulate(
            market or panel, rules, clients=clients, seed=seed, threads=threads,
            first=days[0].item(), last=days[-1].item(),
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def lab_book(run_lab: Callable[..., LabBook]) -> LabBook:
    return run_lab()


@pytest.fixture(scope="session")
def lab_folder(
    lab_market: tuple[PricePanel, MarginRules], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The laboratory's market as a folder."""
    folder = tmp_path_factory.mktemp("lab") / "market"
    write_market(lab_market[0], folder)
    return folder


@pytest.fixture(scope="session")
def lab_lake(
    lab_book: LabBook,
    lab_market: tuple[PricePanel, MarginRules],
    lab_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The book as a lake."""
    out = tmp_path_factory.mktemp("book") / "lake"
    write_lake(lab_book, lab_market[0], lab_folder, out, buckets=4)
    return out


@pytest.fixture(scope="session")
def rough() -> PricePanel:
    return rough_panel()


@pytest.fixture(scope="session")
def made(rough: PricePanel) -> GeneratedMarket:
    return generate_traced(rough, 7, sessions=12_000, first_day=DAY)


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "market"
    write_sample_market(folder)
    return folder


@pytest.fixture(scope="session")
def sample(sample_folder: Path) -> PricePanel:
    return load_panel(sample_folder)
