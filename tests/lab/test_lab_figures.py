"""The figures of a book are what plain loops find, and the fit sees the calm window alone."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import gearline
from data_contracts.columns import TABLES
from data_contracts.errors import InputError
from data_contracts.lake import lake_info, latest_versions, to_arrow
from features.panel import PricePanel
from tests.lab.markets import write_market
from training.lab import LabBook, MarginRules
from training.lab.behaviour import PARAMETERS
from training.lab.calibration import bands, calibrate, table_text
from training.lab.fit import Fit, fit_strengths, write_strengths
from training.lab.measure import connect, figures
from training.lab.run import block_of, market_folder
from training.lab.strengths import FILE, Strengths

Market = tuple[PricePanel, MarginRules]


def rows(book: LabBook, name: str) -> list[dict[str, Any]]:
    return list(to_arrow(TABLES[name], book.tables[name]).to_pylist())


def measured(lake: Path, panel: PricePanel, *names: str) -> dict[str, float | None]:
    with connect(lake, 1) as connection:
        low, high = panel.sessions[0].item(), panel.sessions[-1].item()
        return figures(connection, list(names), low, high, panel.currency)


def test_calls_and_cures_are_counted_as_a_plain_loop_does(
    lab_book: LabBook, lab_lake: Path, lab_market: Market
) -> None:
    found = measured(
        lab_lake, lab_market[0], "calls_per_debtor_year", "cured_within_deadline",
        "shortfalls_per_default",
    )  # fmt: skip
    kinds: dict[str, int] = defaultdict(int)
    for row in rows(lab_book, "margin_events"):
        kinds[row["kind"]] += 1
    in_debt = sum(row["debt_amt"] > 0 for row in rows(lab_book, "balances"))
    assert found["calls_per_debtor_year"] == pytest.approx(kinds["call"] / in_debt * 244)
    assert found["cured_within_deadline"] == pytest.approx(kinds["cure"] / kinds["call"])
    assert found["shortfalls_per_default"] == pytest.approx(kinds["shortfall"] / kinds["default"])


def test_gains_realised_follow_odean(lab_book: LabBook, lab_lake: Path, lab_market: Market) -> None:
    """Only days on which an account sold: realised and paper gains of what it held on the eve."""
    panel = lab_market[0]
    days = [d.item() for d in panel.sessions]
    place = {d: k for k, d in enumerate(days)}
    carried = np.maximum.accumulate(
        np.where(panel.close > 0, np.arange(len(days))[:, None], 0), axis=0
    )
    spans = defaultdict(list)
    tables = to_arrow(TABLES["positions"], lab_book.tables["positions"])
    for row in latest_versions(tables, TABLES["positions"].key).to_pylist():
        spans[row["account_id"]].append(row)
    sold = defaultdict(set)
    for row in rows(lab_book, "trades"):
        if row["side"] == "sell":
            sold[row["account_id"], row["event_at"].date()].add(row["symbol"])
    seen: dict[bool, list[bool]] = {True: [], False: []}
    for (account, day), names in sold.items():
        s = place[day]
        for held in spans[account]:
            ends = held["to_session"] or days[-1]
            if s and held["from_session"] <= days[s - 1] <= ends:
                k = panel.symbols.index(held["symbol"])
                price = int(panel.close[carried[s, k], k])
                gain = price * held["quantity_shares"] > int(held["cost_amt"] * 10_000)
                seen[gain].append(held["symbol"] in names)
    name = "gains_realised_over_losses_realised"
    wanted = np.mean(seen[True]) / np.mean(seen[False])
    assert measured(lab_lake, panel, name)[name] == pytest.approx(wanted)


def test_every_band_has_a_source_and_its_figure(lab_lake: Path, lab_market: Market) -> None:
    panel = lab_market[0]
    for currency in ("CNY", "USD"):
        wanted, windows = bands(currency)
        for band in wanted:
            assert band.low <= band.high
            assert band.kind in ("published", "assumption")
            assert band.source
            assert not band.fit or band.window == "calm"
            assert band.window == "all" or band.window in windows
        measured(lab_lake, panel, *(b.quantity for b in wanted))
    found = calibrate(
        lab_lake, panel.currency, panel.sessions[0].item(), panel.sessions[-1].item(), 1
    )
    windows_seen = {c.window for c in found}
    assert windows_seen == ({"all"} if panel.currency == "USD" else {"calm"})
    text = table_text(found)
    assert all(c.quantity in text for c in found)


def test_no_outcome_rate_is_a_parameter() -> None:
    assert not [p for p in PARAMETERS if "default" in p or "call" in p or "loss" in p]
    assert list(Strengths.__dataclass_fields__) == [
        "behaviour", "leverage", "activity", "wealth",
    ]  # fmt: skip


def test_the_fit_sees_the_calm_window_alone(lab_market: Market, tmp_path: Path) -> None:
    panel, rules = lab_market
    if panel.currency == "USD":
        with pytest.raises(InputError, match="marks no row of USD"):
            fit_strengths(panel, rules, tmp_path, seed=1)
        return
    cut = int(np.searchsorted(panel.sessions, np.datetime64("2015-01-01")))
    assert cut < len(panel.sessions)
    close, pre = panel.close.copy(), panel.pre_close.copy()
    later = close[cut:] > 0
    close[cut:][later] = close[cut:][later] * 8 // 1000 * 100
    pre[cut:][later] = pre[cut:][later] * 9 // 1000 * 100
    other = replace(panel, close=close, pre_close=pre)
    found: list[Fit] = []
    for name, market in (("a", panel), ("b", other)):
        write_market(market, tmp_path / name)
        found.append(
            fit_strengths(
                market, rules, tmp_path / name, seed=1, clients=200, threads=1, steps=(0.2,)
            )
        )
    assert found[0] == found[1]
    assert found[0].strengths.behaviour == 1.0
    assert found[0].strengths != Strengths()
    file = tmp_path / "strengths.yaml"
    file.write_bytes(FILE.read_bytes())
    write_strengths("CNY", found[0], file)
    before, after = yaml.safe_load(FILE.read_text("utf-8")), yaml.safe_load(file.read_text("utf-8"))
    assert after["USD"] == before["USD"]
    assert after["CNY"]["strengths"]["leverage"] == found[0].strengths.leverage
    assert set(after["CNY"]["achieved"]) == {b.quantity for b in bands("CNY")[0] if b.fit}


def test_the_fit_is_run_and_kept_from_the_command_line(
    lab_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    window = dt.date(2014, 7, 1), dt.date(2014, 12, 31)
    found = Fit(Strengths(1.0, 0.9, 5.0, 1.2), 0.1, {"turnover_per_year": 6.0}, 3, 4, 40, window)
    monkeypatch.setattr("training.commands.fit_strengths", lambda *a, **k: found)
    file = tmp_path / "strengths.yaml"
    file.write_bytes(FILE.read_bytes())
    command = f"lab fit --market {lab_folder} --seed 4 --clients 40 --out {file} --json"
    assert gearline.main(command.split()) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["strengths"]["activity"] == 5.0
    assert document["achieved"] == {"turnover_per_year": 6.0}
    stated = yaml.safe_load(file.read_text("utf-8"))[document["currency"]]
    assert stated["strengths"] == document["strengths"]
    assert stated["found"] == "fitted on calm 2014-07..2014-12"


def test_blocks_hold_whole_groups_and_no_more_than_fits() -> None:
    assert block_of(265) == 20_000
    assert block_of(4_200) % 40 == 0
    assert block_of(4_200) * 4_200 <= 5_300_000
    assert block_of(10**7) == 40


def test_a_generated_market_is_simulated_on_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lake"
    command = (
        "lab simulate --market generated:5 --names 12 --clients 80 --from 2010-01-04"
        f" --to 2010-12-31 --seed 3 --out {out} --json"
    )
    assert gearline.main(command.split()) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) >= {
        "clients", "sessions", "client_sessions", "client_sessions_per_second",
        "with_tables_per_second", "peak_rss_mb", "calibration", "flags", "rows", "out",
    }  # fmt: skip
    assert {"generated", "survivor-only"} <= set(document["flags"])
    assert document["flags"] == list(lake_info(out).flags)
    assert set(document["calibration"][0]) == {
        "quantity", "window", "low", "high", "achieved", "inside", "kind", "source",
    }  # fmt: skip
    assert document["rows"]["balances"] == document["client_sessions"]
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    assert gearline.main([a for a in command.split() if a != "--json"]) == 0
    assert "no level of default may be quoted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("market", "given", "told"),
    [
        ("generated:x", {}, "generated:SEED"),
        ("somewhere", {"names": 3}, "are for --market generated:SEED"),
    ],
)
def test_a_market_that_is_named_wrongly_is_refused(
    market: str, given: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(InputError, match=told),
        market_folder(market, tmp_path / "o", dt.date(2010, 1, 1), dt.date(2011, 1, 1), **given),
    ):
        pass


def test_a_folder_that_is_no_lake_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with (
        pytest.raises(InputError, match="is no lake"),
        market_folder("generated:1", tmp_path, dt.date(2010, 1, 1), dt.date(2011, 1, 1)),
    ):
        pass
