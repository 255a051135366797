"""What several folders of tests share: one small demo, made once, and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gearline

SMALL_DEMO_CLIENTS = 1000
"""Fewer leave too few defaults to learn from on the sample market."""


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass(frozen=True)
class Demo:
    """A finished demo: its folder and what ``demo --json`` printed. To be read only."""

    path: Path
    summary: dict[str, Any]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = gearline.main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A demo of 1,000 clients on the bundled sample, made once for all tests."""
    path = tmp_path_factory.mktemp("demo") / "lake"
    with pytest.MonkeyPatch.context() as patch:
        printed: list[dict[str, Any]] = []
        patch.setattr(gearline, "emit", lambda document, as_json, text: printed.append(document))
        arguments = ("demo", "--clients", SMALL_DEMO_CLIENTS, "--out", path, "--json")
        assert gearline.main([str(a) for a in arguments]) == gearline.DONE
    return Demo(path, printed[0])


@pytest.fixture
def demo_copy(small_demo: Demo, tmp_path: Path) -> Path:
    """A copy of the small demo's folder that a test may change."""
    return shutil.copytree(small_demo.path, tmp_path / "lake")
