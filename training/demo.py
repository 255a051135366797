"""The training side of the demo: market, clients, bundle before the nights; figures and report after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from data_contracts.checks import check_lake
from data_contracts.errors import InputError
from data_contracts.importers import write_sample_market
from data_contracts.lake import check_output_folder, lake_info, write_atomically
from data_contracts.provenance import lake_sha256
from features.asof import BookHistory
from features.panel import PricePanel, load_panel
from features.sets import BEHAVIOURAL
from models.bundle import APPLICATION_FOLDER, BUNDLE_FOLDER
from models.policy import Pack, load_pack, refuse_contracts
from training.lab import MAX_CLIENTS, buckets_for, simulate, write_lake
from training.labels import Outcomes, load_outcomes
from training.lender import margin_rules
from training.report import write_report
from training.summary import judge, pool, summarise
from training.train import Trained, train, train_application, write_trained

MARKER: Final = "demo.json"
SAMPLE_FIRST: Final = np.datetime64("2006-01-03")
LEAST_CLIENTS: Final = 200

Stages = Callable[[str, int, int], None]

WARNINGS: Final = {
    "simulated": (
        "Clients, trades and defaults are simulated on real prices; no figure here is a real lender's.",
        "客户、交易与违约均为在真实行情上的模拟；本页数字不代表任何真实机构。",
    ),
    "survivor-only": (
        "The market holds survivors only, chosen with hindsight: levels of default are not to be quoted.",
        "行情仅含幸存股票（事后挑选）：违约水平不可引用。",
    ),
    "closes-only": (
        "Closes only: features that need volume or price limits are undefined, not guessed.",
        "仅有收盘价：需要成交量或涨跌停的特征为空值，不作推测。",
    ),
    "by-client": (
        "The training period holds too few defaults: the scorer learnt from other clients of the same"
        " period, not from an earlier one. This is not an out-of-time test.",
        "训练期违约过少：评分模型使用同期的其他客户训练，而非更早时期，不属于跨期检验。",
    ),
    "few-years": (
        "The PD map rests on fewer than eight market years: read levels as indicative only.",
        "违约概率映射不足八个市场年度：水平仅供参考。",
    ),
}


def headline(policy: str, market: Path | None, clients: int) -> str:
    """The first line of the demo: what runs on what."""
    pack = load_pack(policy)
    where = "the bundled US sample, 2006-2022" if market is None else f"the market in {market}"
    return f"Gearline demo: {pack.title_en} pack on {where}; {clients:,} simulated clients on real prices."


@dataclass(frozen=True)
class PreparedDemo:
    """What the nights need, and what the report needs of the training."""

    pack: Pack
    panel: PricePanel
    histories: tuple[BookHistory, ...]
    outcomes: Outcomes
    trained: Trained
    bundle_path: str
    nights: tuple[Any, ...]
    clients: int
    seed: int
    market: str
    headline: str
    first: str
    last: str


def _clean(out: Path) -> None:
    """Make room for a demo; a folder that no demo made is never touched."""
    check_output_folder(out, MARKER, "the demo")
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / MARKER, b'{"made_by": "gearline demo"}\n')


def check_demo(out: Path, policy: str, market: Path | None, clients: int) -> None:
    """Refuse what the demo cannot run on, before anything is written.

    Raises
    ------
    InputError
        If the clients are too few or too many, the market does not fit the pack, or ``out`` is not a demo's.
    """
    if not LEAST_CLIENTS <= clients <= MAX_CLIENTS:
        raise InputError(
            f"--clients is {clients}; the demo needs at least {LEAST_CLIENTS} to learn from and takes"
            f" at most {MAX_CLIENTS}"
        )
    pack = load_pack(policy)
    refuse_contracts(pack, "the demo")
    if market is None and policy != "us":
        raise InputError(
            f"the bundled sample market is in USD; for --policy {policy} give --market DIR, made by"
            " `gearline market import FILE --format ashare-daily --out DIR`"
        )
    if market is not None:
        info = lake_info(market)
        if info.currency != pack.currency:
            raise InputError(
                f"{market} is in {info.currency}, policy pack {policy!r} in {pack.currency}; choose the pack"
                " of the market with --policy"
            )
    check_output_folder(out, MARKER, "the demo")


def prepare_demo(
    out: Path,
    policy: str,
    market: Path | None,
    clients: int,
    seed: int,
    threads: int | None,
    stages: Stages,
) -> PreparedDemo:
    """Market, simulated book, lake, bundle.

    Raises
    ------
    InputError
        If the market does not fit the pack, or there is too little to learn from.
    """
    check_demo(out, policy, market, clients)
    pack = load_pack(policy)
    _clean(out)
    stages("market", 0, 1)
    source = market or out / "market"
    if market is None:
        write_sample_market(source)
    panel = load_panel(source)
    stages("market", 1, 1)

    first_day = max(
        SAMPLE_FIRST if market is None else panel.sessions[0], np.datetime64(pack.first_date)
    )
    last_day = min(panel.sessions[-1], np.datetime64(pack.last_date))
    if first_day >= last_day:
        raise InputError(
            f"the market ends on {panel.sessions[-1]}, before policy pack {policy!r} begins on {pack.first_date}"
        )
    stages("simulate", 0, clients)
    book = simulate(
        panel,
        margin_rules(pack, panel),
        clients=clients,
        seed=seed,
        first=first_day.astype("datetime64[D]").item(),
        last=last_day.astype("datetime64[D]").item(),
        threads=threads,
        progress=lambda done, total: stages("simulate", done, total),
    )
    stages("write", 0, 1)
    buckets = buckets_for(clients)
    write_lake(book, panel, source, out, buckets=buckets)
    if market is None:
        shutil.rmtree(source)
    stages("write", 1, 1)
    check_lake(out, progress=lambda _, done, total: stages("check", done, total))
    histories = []
    for bucket in range(buckets):
        histories.append(BookHistory.load(out, panel, bucket))
        stages("load", bucket + 1, buckets)
    outcomes = load_outcomes(out, panel)
    trained = train(panel, histories, outcomes, book.first, book.last, seed, stages)
    data_sha256 = lake_sha256(out)
    write_trained(out / BUNDLE_FOLDER, trained, data_sha256, seed)
    applicants = train_application(panel, trained, book.first, seed)
    write_trained(out / APPLICATION_FOLDER, applicants, data_sha256, seed)
    rows = [*trained.split.test_rows, book.last]
    return PreparedDemo(
        pack=pack,
        panel=panel,
        histories=tuple(histories),
        outcomes=outcomes,
        trained=trained,
        bundle_path=BUNDLE_FOLDER,
        nights=tuple(panel.sessions[t].astype("datetime64[D]").item() for t in rows),
        clients=clients,
        seed=seed,
        market=lake_info(out).source if market is None else str(market),
        headline=headline(policy, market, clients),
        first=str(panel.sessions[book.first]),
        last=str(panel.sessions[book.last]),
    )


def _warnings(out: Path, trained: Trained) -> list[dict[str, str]]:
    names = ["simulated", *lake_info(out).flags]
    if trained.split.kind == "by-client":
        names.append("by-client")
    if not trained.bundle.calibration.enough_years:
        names.append("few-years")
    return [{"en": WARNINGS[n][0], "zh": WARNINGS[n][1]} for n in names if n in WARNINGS]


def _next_commands(out: Path, night: str) -> list[dict[str, str]]:
    lake = "" if str(out) == "out/demo" else f" --lake {out}"
    return [
        {"command": f"gearline replay --sample 500{lake}", "en": "Decide 500 of them again, byte for byte", "zh": "重新计算 500 条决定并逐字节比对"},
        {"command": f"gearline ledger verify{lake} --since {out}/ledger.checkpoints", "en": "Check the record against its signed checkpoint", "zh": "按签名检查点核验账本"},
        {"command": f"gearline decide {out}/case.json", "en": "Decide on one case file; edit it and see what changes", "zh": "对单个案例作出决定；可修改后观察变化"},
        {"command": f"gearline features build {out} --as-of {night} --out features.parquet", "en": "The features as they were known on a session", "zh": "某交易日当时可知的特征"},
        {"command": "gearline policy show cn --as-of 2015-11-23", "en": "The rules in force on a date, with references", "zh": "某日生效的规则及出处"},
    ]  # fmt: skip


def finish_demo(
    out: Path,
    prepared: PreparedDemo,
    decisions_sha256: str,
    segments: Sequence[Path],
    example: Mapping[str, Any],
    stages: Stages,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Judge the nights' decisions against what happened, write ``summary.html`` and ``summary.json``."""
    stages("judge", 0, 2)
    decisions = pool(segments)
    judged = judge(decisions, prepared.histories, prepared.outcomes, prepared.trained)
    stages("judge", 1, 2)
    figures = summarise(judged, prepared.trained, prepared.seed)
    stages("judge", 2, 2)
    zh = prepared.pack.title_zh
    summary: dict[str, Any] = {
        "headline": prepared.headline,
        "headline_zh": f"Gearline 演示：{zh}规则包，{prepared.first} 至 {prepared.last}，真实行情上的 {prepared.clients:,} 名模拟客户。",
        "policy": prepared.pack.name,
        "pack_title": {"en": prepared.pack.title_en, "zh": zh},
        "currency": prepared.pack.currency,
        "market": prepared.market,
        "clients": prepared.clients,
        "seed": prepared.seed,
        "sessions": {"first": prepared.first, "last": prepared.last},
        "nights": len(prepared.nights),
        "decisions": decisions.num_rows,
        "decisions_sha256": decisions_sha256,
        "bundle_sha256": prepared.trained.bundle.sha256,
        "policy_sha256": prepared.pack.sha256,
        **figures,
        "warnings": _warnings(out, prepared.trained),
        "next_commands": _next_commands(out, prepared.nights[-1].isoformat()),
        "out": str(out),
    }
    names = {f.name: (f.en, f.zh) for f in BEHAVIOURAL.features}
    stages("report", 0, 1)
    write_report(out, {**summary, "seconds_by_stage": dict(seconds)}, decisions, example, names)
    write_atomically(out / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    stages("report", 1, 1)
    return {**summary, "text": summary_text(summary)}


def _shown(value: float | None, pattern: str, scale: float = 1.0) -> str:
    return "-" if value is None else pattern.format(value * scale)


def summary_text(summary: Mapping[str, Any]) -> str:
    """The figures for a terminal."""
    in_time = summary["split"] == "out-of-time"
    discrimination = summary["auc_default_60_" + ("out_of_time" if in_time else "by_client")]
    lines = [
        f"{summary['decisions']:,} decisions over {summary['nights']} nights; decisions_sha256"
        f" {summary['decisions_sha256']}",
        f"AUC of default_60 {summary['split']}: {_shown(discrimination, '{:.3f}')};"
        f" Somers' D of tier against default within {summary['horizon_sessions']} sessions:"
        f" {_shown(summary['somers_d'], '{:.3f}')}"
        f" (95 % {_shown(summary['somers_d_low'], '{:.3f}')} to {_shown(summary['somers_d_high'], '{:.3f}')})",
        "",
        f"{'tier':<5}{'clients':>9}{'decisions':>11}{'PD 1y':>9}{'expected':>10}{'realised':>10}{'mean cap':>10}"
        f"{'in money':>14}{'rate bps':>10}{'EL+cap bps':>12}",
    ]
    for t in summary["tiers"]:
        lines.append(
            f"{t['tier']:<5}{t['clients']:>9,}{t['decisions']:>11,}{_shown(t['predicted_pd'], '{:.2f}%', 100):>9}"
            f"{_shown(t['predicted_over_horizon'], '{:.2f}%', 100):>10}"
            f"{_shown(t['realised_rate'], '{:.2f}%', 100):>10}{_shown(t['mean_cap'], '{:.2f}x'):>10}"
            f"{_shown(t['mean_cap_amt'], '{:,.0f}'):>14}{_shown(t['mean_rate_bps'], '{:.0f}'):>10}"
            f"{_shown(t['mean_expected_loss_capital_bps'], '{:.1f}'):>12}"
        )
    lines.append(f"(expected and realised: default within {summary['horizon_sessions']} sessions)")
    bound = ", ".join(f"{k} {v:,}" for k, v in summary["binding_constraints"].items() if v)
    lines += [
        "",
        f"what bound the cap: {bound}",
        f"referred to a person: {summary['referred']:,}",
        "",
    ]
    lines += [f"! {w['en']}" for w in summary["warnings"]]
    lines += ["", f"open {summary['out']}/summary.html, or try:"]
    lines += [f"  {c['command']}" for c in summary["next_commands"]]
    return "\n".join(lines)
