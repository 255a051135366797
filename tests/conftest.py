"""What several folders of tests share: one small demo, made once, and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

import gearline
from tests.postgresql import running_server
from tests.side_by_side import once

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
def small_demo(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A demo of 1,000 clients on the bundled sample, made once for all tests."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            printed: list[dict[str, Any]] = []
            patch.setattr(gearline, "emit", lambda document, *_: printed.append(document))
            arguments = (
                "demo",
                "--clients",
                SMALL_DEMO_CLIENTS,
                "--out",
                folder / "lake",
                "--json",
            )
            assert gearline.main([str(a) for a in arguments]) == gearline.DONE
        options = orjson.OPT_SERIALIZE_NUMPY
        folder.joinpath("printed.json").write_bytes(orjson.dumps(printed[0], option=options))

    made = once(pytestconfig, tmp_path_factory.getbasetemp(), "demo", make)
    return Demo(made / "lake", orjson.loads(made.joinpath("printed.json").read_bytes()))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server, started when the first test asks for it."""
    with running_server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture
def demo_copy(small_demo: Demo, tmp_path: Path) -> Path:
    """A copy of the small demo's folder that a test may change."""
    return shutil.copytree(small_demo.path, tmp_path / "lake")
