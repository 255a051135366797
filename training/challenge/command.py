"""``model challenge-report``: from recorded nights to the document and its pages."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from data_contracts.lake import check_output_folder
from features.panel import load_panel
from models.bundle import Bundle
from training.challenge.compare import KEEP, Night, compare
from training.challenge.page import DOCUMENT, write_challenge
from training.labels import load_outcomes

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1


class Recorded(Protocol):
    """Where the nights lie, as the serving side found and checked them."""

    @property
    def lake(self) -> Path:
        """The data folder."""

    @property
    def role(self) -> str:
        """``challenger`` or ``shadow``."""

    @property
    def champion(self) -> Path:
        """Folder of the champion's bundle."""

    @property
    def challenger(self) -> Path:
        """Folder of the challenger's."""

    @property
    def nights(self) -> tuple[tuple[str, str, tuple[Path, ...], tuple[Path, ...]], ...]:
        """Run, session, and both models' segment files."""


def report_challenge(arguments: argparse.Namespace, recorded: Recorded, stages: Stages) -> Answer:
    """Compare and write; exit code 1 where the rule keeps the champion."""
    check_output_folder(arguments.out, DOCUMENT, "`gearline model challenge-report`")
    panel = load_panel(recorded.lake)
    stages("outcomes", 0, 1)
    outcomes = load_outcomes(recorded.lake, panel)
    stages("outcomes", 1, 1)
    document = compare(
        [Night(*night) for night in recorded.nights],
        (Bundle.read(recorded.champion), Bundle.read(recorded.challenger)),
        recorded.role,
        outcomes,
        panel,
        stages,
    )
    files = write_challenge(arguments.out, document)
    answer = {
        **document["subject"],
        **{
            k: document[k]
            for k in (
                "nights", "first", "last", "clients", "matured", "matured_nights", "defaults",
                "verdict",
            )
        },
        "conditions": {c["key"]: c["met"] for c in document["conditions"]},
        "figures": {
            f"{s['key']}.{f['key']}": f["value"] for s in document["sections"] for f in s["figures"]
        },
        "files": files,
        "out": str(arguments.out),
    }  # fmt: skip
    lines = [
        f"challenger {answer['challenger_sha256'][:16]} against champion"
        f" {answer['champion_sha256'][:16]}: {document['verdict_text']['en']}"
    ]
    lines += [
        f"  {'holds' if c['met'] else 'FAILS':<6} {c['text']['en']}" for c in document["conditions"]
    ]
    lines.append(f"open {arguments.out}/challenge.en.html")
    return (FOUND if document["verdict"] == KEEP else DONE), answer, "\n".join(lines)
