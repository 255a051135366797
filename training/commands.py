"""The verbs of the training side: lab simulate, lab fit, features build, train."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.lake import check_output_folder, lake_info, read_table
from data_contracts.provenance import lake_sha256
from data_contracts.units import parse_day
from features.asof import BookHistory
from features.build import build_frame
from features.panel import load_panel
from features.sets import APPLICATION, BEHAVIOURAL, FLOWS, feature_set
from models.policy import PACK_NAMES, Pack, load_pack, refuse_contracts
from training.lab.fit import fit_strengths, write_strengths
from training.lab.run import GENERATED, market_folder, run_book
from training.labels import load_outcomes
from training.lender import margin_rules
from training.train import train, write_trained

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]


def pack_of(currency: str, name: str | None) -> Pack:
    """The named pack, else the one of the currency."""
    for known in PACK_NAMES if name is None else (name,):
        pack = load_pack(known)
        if pack.currency == currency:
            refuse_contracts(pack, f"a simulated book in {currency}")
            return pack
    if name is not None:
        raise InputError(
            f"the market is in {currency}, policy pack {name!r} in {load_pack(name).currency};"
            " leave --policy out to take the market's"
        )
    raise InputError(f"no policy pack is in {currency}; the packs are {', '.join(PACK_NAMES)}")


def _check_lake_to_write(out: Path) -> None:
    """Refuse to write a simulated book over anything but one that has no decisions yet."""
    check_output_folder(out, "lake.json", "`gearline lab simulate`")
    if (out / "lake.json").is_file() and (
        not lake_info(out).source.startswith("lab ") or (out / "ledger.sqlite").exists()
    ):
        raise InputError(
            f"{out} is a market, or a lake with decisions on record; choose another --out"
        )


def run_simulate(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``lab simulate``."""
    first, last = parse_day(arguments.first, "--from"), parse_day(arguments.last, "--to")
    generated = arguments.market.startswith(GENERATED)
    if generated or arguments.out.resolve() != Path(arguments.market).resolve():
        _check_lake_to_write(arguments.out)
    stages("market", 0, 1)
    with market_folder(
        arguments.market, arguments.out, first, last, source=arguments.source, names=arguments.names
    ) as market:
        info, panel = lake_info(market), load_panel(market)
        stages("market", 1, 1)
        impact = arguments.impact
        if impact is None:
            impact = 1.0 if generated and bool((panel.volume_shares > 0).any()) else 0.0
        run = run_book(
            panel,
            margin_rules(pack_of(info.currency, arguments.policy), panel),
            market,
            arguments.out,
            clients=arguments.clients,
            seed=arguments.seed,
            first=first,
            last=last,
            impact=impact,
            behaviour=arguments.behaviour,
            threads=arguments.threads,
            stages=stages,
        )
    return 0, run.as_dict(), run.text()


def run_fit_strengths(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``lab fit``."""
    panel = load_panel(arguments.market)
    found = fit_strengths(
        panel,
        margin_rules(pack_of(panel.currency, None), panel),
        arguments.market,
        seed=arguments.seed,
        clients=arguments.clients,
        threads=arguments.threads,
        progress=lambda done, total: stages("fit", done, total),
    )
    write_strengths(panel.currency, found, arguments.out)
    document = {**found.as_dict(), "currency": panel.currency, "out": str(arguments.out)}
    lines = [f"  {name}: {value:.6g}" for name, value in found.achieved.items()]
    scales = ", ".join(f"{k} {v:g}" for k, v in document["strengths"].items())
    text = "\n".join([f"strengths of {panel.currency}: {scales}", *lines])
    return 0, document, f"{text}\nwritten to {arguments.out}"


def _flows(arguments: argparse.Namespace, day: dt.date, stages: Stages) -> FeatureFrame:
    """The flow features, in full or from an earlier night's state; either leaves a state."""
    from features.flow_frame import flow_frame
    from features.tallies.nightly import advance, build_with_state

    threads = arguments.threads or 1
    if arguments.since is None:
        lake = build_with_state(
            arguments.lake, day, threads, lambda done, total: stages("features", done, total)
        )
    else:
        since = parse_day(arguments.since, "--since")
        frames: list[FeatureFrame] = []
        advance(
            arguments.lake, day, since, threads, lambda t: frames.append(flow_frame(t, threads))
        )
        return frames[0]
    return flow_frame(lake, threads)


def run_features(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``features build``."""
    day = parse_day(arguments.as_of, "--as-of")
    if arguments.out.is_dir():
        raise InputError(f"--out is {arguments.out}, a folder; name the Parquet file to write")
    info = lake_info(arguments.lake)
    panel = load_panel(arguments.lake)
    session = panel.sessions[panel.session_index(np.datetime64(day))].item()
    if session != day:
        raise InputError(
            f"--as-of is {day}, which is no session of the market; the last before it is {session}"
        )
    chosen = feature_set(arguments.set)
    if chosen is FLOWS:
        whole = _flows(arguments, day, stages)
    elif arguments.since is not None:
        raise InputError(f"--since goes with --set {FLOWS.label}; {chosen.label} is built in full")
    else:
        frames = []
        for bucket in range(info.buckets):
            history = BookHistory.load(arguments.lake, panel, bucket)
            frames.append(build_frame(history.as_of(day), chosen))
            stages("features", bucket + 1, info.buckets)
        whole = FeatureFrame(
            frames[0].feature_set,
            frames[0].feature_set_sha256,
            frames[0].names,
            tuple(c for f in frames for c in f.client_ids),
            frames[0].as_of,
            np.concatenate([f.values for f in frames]),
        )
    whole.write(arguments.out)
    document = {
        "clients": len(whole.client_ids),
        "features": len(whole.names),
        "as_of": whole.as_of.isoformat(),
        "feature_set": whole.feature_set,
        "feature_set_sha256": whole.feature_set_sha256,
        "out": str(arguments.out),
    }
    text = (
        f"{len(whole.client_ids):,} clients x {len(whole.names)} features ({whole.feature_set}) as of"
        f" {whole.as_of} written to {arguments.out}; values are integers in the unit of their declaration"
    )
    return 0, document, text


def run_train(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``train``."""
    info = lake_info(arguments.lake)
    check_output_folder(arguments.out, "bundle.json", "`gearline train`")
    panel = load_panel(arguments.lake)
    histories = []
    for bucket in range(info.buckets):
        histories.append(BookHistory.load(arguments.lake, panel, bucket))
        stages("load", bucket + 1, info.buckets)
    outcomes = load_outcomes(arguments.lake, panel)
    days = [str(panel.sessions[0]), str(panel.sessions[-1])]
    opened = read_table(arguments.lake, "accounts", columns=["opened_on"])["opened_on"]
    if len(opened):
        days[0] = str(max(pc.min(opened).as_py(), panel.sessions[0].item()))
    first, last = (
        panel.session_index(np.datetime64(parse_day(given or day, name)))
        for given, day, name in zip(
            (arguments.first, arguments.last), days, ("--from", "--to"), strict=True
        )
    )
    if first >= last:
        raise InputError(
            f"the first day, {panel.sessions[first]}, must lie before the last, {panel.sessions[last]};"
            " change --from or --to"
        )
    whom = APPLICATION if arguments.whom == "applicants" else BEHAVIOURAL
    trained = train(panel, histories, outcomes, first, last, arguments.seed, stages, whom)
    write_trained(arguments.out, trained, lake_sha256(arguments.lake), arguments.seed)
    document = {"bundle_sha256": trained.bundle.sha256, "out": str(arguments.out), **trained.report}
    if arguments.mlflow is not None:
        from training.registry import log_training

        stages("mlflow", 0, 1)
        document["mlflow_run"] = log_training(
            arguments.mlflow, arguments.out, trained.bundle.sha256, trained.report
        )
        stages("mlflow", 1, 1)
    text = f"bundle {trained.bundle.sha256[:16]} written to {arguments.out}\n" + "\n".join(
        f"  {k}: {v}" for k, v in trained.report.items()
    )
    return 0, document, text
