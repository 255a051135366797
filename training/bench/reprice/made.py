"""What the benchmark of the night runs on: a laboratory book with positions, and a fitted scorer."""

from __future__ import annotations

import datetime as dt
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.canonical import sha256_hex
from data_contracts.lake import create_lake, lake_info, write_atomically, write_parquet
from data_contracts.tables import TABLES
from data_contracts.units import NULL, PROB_ONE, IntArray
from features.asof import BookHistory
from features.build import build_frame
from features.panel import load_panel
from features.sets import BEHAVIOURAL_3, feature_set_sha256
from models.bundle import Bundle
from models.calibration import Calibration
from models.policy import load_pack
from models.scorer.compile import compile_booster
from models.scorer.reference import LEAST_CELL, Reference
from training.estimator_bags import Sample, fit_bags
from training.fit import HEAD_RECIPE, as_floats
from training.lab.lake import LakeWriter, buckets_for
from training.lab.run import BLOCK, market_folder
from training.lab.simulate import LabBook, compile_engine, set_stage, simulate_block
from training.lab.strengths import STRENGTHS
from training.lender import margin_rules

FIRST: Final = dt.date(2023, 1, 3)
LAST: Final = dt.date(2023, 6, 30)
"""Half a year of life; the market lies a year further back, for the features that look so far."""
FIT_CLIENTS: Final = 20_000
REFERENCE_ROWS: Final = 5_000
WHOLE: Final = "whole"
"""The mark of a book all of whose blocks are written."""
Progress = Callable[[int, int], None]


def make_book(out: Path, clients: int, seed: int, progress: Progress) -> None:
    """Simulate a book on a generated market and write its lake, block by block.

    Killed at any time, the same call goes on after the last block that was written.
    """
    done = out / f"made-{clients}-{seed}"
    if done.is_file():
        return
    marks = out / f"blocks-{clients}-{seed}"
    if not marks.is_dir():
        shutil.rmtree(out, ignore_errors=True)
    elif (marks / WHOLE).is_file():
        _finish(out, marks, done)
        return
    with market_folder(f"generated:{seed}", out, FIRST, LAST) as market:
        panel = load_panel(market)
        rules = margin_rules(load_pack("us"), panel)
        stage = set_stage(panel, rules, seed, FIRST, LAST, STRENGTHS[panel.currency])
        compile_engine(stage)
        source = f"made for bench reprice, seed {seed}, {clients} clients"
        going_on = marks.is_dir()
        writer = LakeWriter(
            stage.panel, market, out, buckets=buckets_for(clients), source=source, going_on=going_on
        )
        marks.mkdir(exist_ok=True)
        for low in range(0, clients, BLOCK):
            mark = marks / f"{low}.npz"
            if mark.is_file():
                with np.load(mark) as m:
                    first, last = m["window"].tolist()
                    writer.count(m["drawn"], int(m["clients"]), (first, last))
            else:
                book = simulate_block(stage, low, min(low + BLOCK, clients))
                writer.add(book)
                # what no lender sees is not part of a book
                shutil.rmtree(out / "truth", ignore_errors=True)
                _mark(mark, book)
            progress(min(low + BLOCK, clients), clients)
        writer.finish()
    (marks / WHOLE).touch()
    _finish(out, marks, done)


def _mark(path: Path, book: LabBook) -> None:
    """That a block is written, and what of it only the whole book needs."""
    drawn = np.asarray(book.tables["firm_state"]["drawn_amt"])
    sink = io.BytesIO()
    np.savez(sink, drawn=drawn, clients=len(book.client_ids), window=(book.first, book.last))
    write_atomically(path, sink.getvalue())


def _finish(out: Path, marks: Path, done: Path) -> None:
    compact(out)
    done.touch()
    shutil.rmtree(marks)


def compact(lake: Path) -> None:
    """One file a table and bucket, as the keeper of a lake leaves it: blocks wrote one each.

    Killed at any time, the same call goes on: the whole is there before a part goes.
    """
    for name, spec in TABLES.items():
        for folder in sorted((lake / name).glob("bucket=*")) if spec.bucketed else []:
            parts = sorted(folder.glob("part-*.parquet"), key=lambda p: int(p.stem[5:]))
            whole = folder / "whole"
            if len(parts) > 1 and not whole.is_file():
                write_parquet(whole, pa.concat_tables([pq.ParquetFile(p).read() for p in parts]))
            if whole.is_file():
                for path in parts:
                    path.unlink()
                whole.rename(folder / "part-0.parquet")


def nights_of(lake: Path) -> tuple[dt.date, dt.date]:
    """The last two sessions but one: the night that is timed, and the one before it."""
    sessions = load_panel(lake).sessions
    before, timed = (sessions[k].astype("datetime64[D]").item() for k in (-3, -2))
    return before, timed


def make_scorer(lake: Path, night: dt.date, seed: int, bundle: Path, model: Path) -> int:
    """Fit the head on clients of the lake and write it as bundle and as LightGBM's own file.

    The label is drawn from a score of all features in their declared directions: a half-year book
    holds too few defaults to learn from, and what a night costs does not depend on what was
    learnt. Returns the number of trees.
    """
    panel = load_panel(lake)
    parts: list[IntArray] = []
    for bucket in range(lake_info(lake).buckets):
        parts.append(
            build_frame(BookHistory.load(lake, panel, bucket).as_of(night), BEHAVIOURAL_3).values
        )
        if sum(len(p) for p in parts) >= FIT_CLIENTS:
            break
    values = np.concatenate(parts)[:FIT_CLIENTS]
    rng = np.random.default_rng(seed)
    directions = [f.direction for f in BEHAVIOURAL_3.features]
    score = np.zeros(len(values))
    for k, direction in enumerate(directions):
        known = values[:, k] != NULL
        order = np.argsort(np.argsort(values[known, k])) / max(int(known.sum()), 1) - 0.5
        score[known] += (direction or rng.choice([-1, 1])) * order
    score = score / max(float(score.std()), 1e-9) * 1.5 - 2.0
    label = (rng.random(len(score)) < 1.0 / (1.0 + np.exp(-score))).astype(np.int64)
    reference = values[
        np.linspace(0, len(values) - 1, min(REFERENCE_ROWS, len(values))).astype(int)
    ]
    # one booster, so that the rivals need not predict with a bag of them
    bagged = fit_bags(
        Sample(as_floats(values), label, None, np.arange(len(label))),
        tuple(directions),
        (),
        replace(HEAD_RECIPE, n_bags=1),
        seed,
        os.cpu_count() or 1,
    )
    compiled = compile_booster(bagged.dumps(), reference, "default_60", least_cell=LEAST_CELL)
    bagged.boosters[0].save_model(str(model), num_iteration=bagged.rounds)
    knots = np.arange(-12, 5, dtype=np.int64) << 20
    pd = (PROB_ONE / (1.0 + np.exp(-np.arange(-12.0, 5.0)))).astype(np.int64)
    Bundle(
        head=compiled.tables,
        calibration=Calibration(
            knots, pd, pd // 2, np.minimum(pd * 11 // 10, PROB_ONE), pd // 3, 9, True, "made"
        ),
        tier_edges=np.array([1, 5, 20, 60, 150, 400], dtype=np.int64) * 1_000_000,
        features={
            "feature_set": BEHAVIOURAL_3.label,
            "feature_set_sha256": feature_set_sha256(BEHAVIOURAL_3),
            "features": [f.declaration() for f in BEHAVIOURAL_3.features],
        },
        reference={
            "sha256": sha256_hex(np.ascontiguousarray(reference).tobytes()),
            "rows": len(reference),
            "joint": Reference.of(compiled.tables.effects, reference).to_json(),
            "first_session": night.isoformat(),
            "last_session": night.isoformat(),
        },
    ).write(bundle)
    return bagged.rounds


def slice_of(lake: Path, buckets: int, out: Path) -> None:
    """A lake of the first buckets of another, by hard links: its clients stay whole."""
    create_lake(out, replace(lake_info(lake), buckets=buckets))
    for name, spec in TABLES.items():
        if not (lake / name).is_dir():
            continue
        places = [f"{name}/bucket={k:03d}" for k in range(buckets)] if spec.bucketed else [name]
        for place in places:
            for path in sorted((lake / place).rglob("*.parquet")):
                target = out / path.relative_to(lake)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(path)
