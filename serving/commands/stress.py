"""The engine's side of ``gearline stress``: decisions on the market as it is, and shocked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_contracts.lake import lake_info
from features.asof import BookHistory
from features.panel import PricePanel
from models.bundle import Bundle
from models.margin.security import FirmTerms, MarketHistory
from models.policy import Pack, Policy
from serving.commands.nights import pack_of_lake
from serving.commands.places import BUNDLE_FOLDER, LEDGER_FILE, Stages
from serving.nightly import RunReport, reprice
from serving.nightly.firm import effective_date, firm_terms


def firm_and_policy(
    root: Path, panel: PricePanel, t: int, name: str | None
) -> tuple[FirmTerms, Policy, Pack]:
    """The lender's state and rules for the session after row t."""
    pack = pack_of_lake(lake_info(root).currency, name)
    policy = pack.on(effective_date(panel, t))
    return firm_terms(root, panel.sessions[t].item(), policy), policy, pack


def load_book(root: Path, panel: PricePanel, stages: Stages) -> list[BookHistory]:
    """Every bucket of a lake on a panel."""
    buckets, histories = lake_info(root).buckets, []
    for bucket in range(buckets):
        histories.append(BookHistory.load(root, panel, bucket))
        stages("load", bucket + 1, buckets)
    return histories


def _night(
    root: Path,
    day: dt.date,
    histories: Sequence[BookHistory],
    panel: PricePanel,
    bundle: Bundle,
    pack: Pack,
) -> RunReport:
    return reprice(
        root, day, histories=histories, markets=MarketHistory(panel), bundle=bundle,
        bundle_path="", pack=pack, ledger=None, record=root / LEDGER_FILE,
    )  # fmt: skip


def decided_after(
    root: Path,
    day: dt.date,
    panel: PricePanel,
    after: PricePanel | None,
    bundle: Path | None,
    pack: Pack,
    stages: Stages,
) -> dict[str, Any]:
    """Hashes of the night's decisions, and of those on the shocked panel.

    ``zero_shock_equals_production`` compares them where the panels are equal, null where they are
    not: then they should differ.
    """
    fitted = Bundle.read(bundle or root / BUNDLE_FOLDER)
    production = _night(root, day, load_book(root, panel, stages), panel, fitted, pack)
    shocked = None
    if after is not None:
        shocked = _night(root, day, load_book(root, after, stages), after, fitted, pack)
    unmoved = after is not None and bool((after.close == panel.close).all())
    return {
        "decisions": production.decisions,
        "decisions_sha256": production.decisions_sha256,
        "decisions_after_sha256": None if shocked is None else shocked.decisions_sha256,
        "zero_shock_equals_production": None
        if shocked is None or not unmoved
        else shocked.decisions_sha256 == production.decisions_sha256,
    }
