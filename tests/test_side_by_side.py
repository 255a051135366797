"""Tests run side by side: each by exactly one process, and one left out is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.side_by_side import PROCESSES, ROOT, files_to_run, left_out_or_twice, once

FILES = st.lists(
    st.tuples(st.sampled_from(["service", "lab", "policy", "market"]), st.integers(0, 9)),
    unique=True,
).map(lambda names: [ROOT / "tests" / folder / f"test_{k}.py" for folder, k in sorted(names)])


@given(files=FILES, turns=st.lists(st.integers(0, PROCESSES - 1)))
def test_each_file_falls_to_exactly_one_process_whatever_their_speeds(files, turns):
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder)
        beside.joinpath("claimed").mkdir()
        processes = [files_to_run(files, beside) for _ in range(PROCESSES)]
        got = [file for turn in turns if (file := next(processes[turn], None)) is not None]
        for process in processes:
            got.extend(process)
    assert sorted(got) == sorted(files)


def test_a_process_stays_in_a_folder_and_then_helps_in_the_others(tmp_path):
    tmp_path.joinpath("claimed").mkdir()
    files = [ROOT / "tests" / folder / f"test_{k}.py" for folder in "ab" for k in range(3)]
    first, second = files_to_run(files, tmp_path), files_to_run(files, tmp_path)
    assert [next(first), next(second), next(first)] == [files[0], files[3], files[1]]
    assert list(second) == [files[4], files[5], files[2]]
    assert list(first) == []


def test_a_test_left_out_or_run_twice_is_named():
    one = {"collected": ["a", "b", "c"], "ran": ["a"]}
    assert left_out_or_twice([one, {"collected": ["a", "b", "c"], "ran": ["b", "c"]}]) == []
    assert left_out_or_twice([one, {"collected": ["a", "b", "c"], "ran": ["c"]}]) == ["b"]
    assert left_out_or_twice([one, {"collected": ["a", "b", "c"], "ran": ["b", "a", "c"]}]) == ["a"]


def test_what_is_made_once_is_made_again_only_after_it_failed(pytestconfig, tmp_path, monkeypatch):
    monkeypatch.setattr(pytestconfig.option, "beside", tmp_path, raising=False)
    made: list[int] = []

    def make(folder: Path) -> None:
        made.append(len(list(folder.iterdir())))
        folder.joinpath("half").touch()
        if len(made) == 1:
            raise ValueError("cut off")

    with pytest.raises(ValueError, match="cut off"):
        once(pytestconfig, tmp_path, "thing", make)
    for _ in range(2):
        assert once(pytestconfig, tmp_path, "thing", make) == tmp_path / "thing"
    assert made == [0, 0]


@pytest.fixture
def side_by_side(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run files of these texts side by side."""

    def run(**files: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            tmp_path.joinpath(f"test_{name}.py").write_text(text, "utf-8")
        return subprocess.run(
            [sys.executable, "-m", "tests.side_by_side", "-q", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )  # fmt: skip

    return run


def test_the_last_line_counts_the_tests_of_all_processes(side_by_side):
    two = "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no reason')\n"
    ran = side_by_side(one=two, two=two, three=two, four=two)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "4 passed, 0 failed, 4 skipped"


def test_a_failure_in_any_process_fails_the_whole_and_is_shown(side_by_side):
    good, bad = "def test_a(): pass\n", "def test_wrong(): assert 'seen' == 'expected'\n"
    ran = side_by_side(one=good, two=good, three=good, four=bad)
    assert ran.returncode == 1
    assert re.search(r"assert 'seen' == 'expected'", ran.stdout)
    assert ran.stdout.splitlines()[-1] == "3 passed, 1 failed, 0 skipped"


def test_a_file_that_cannot_be_read_fails_the_whole(side_by_side):
    ran = side_by_side(one="def test_a(): pass\n", two="import no_such_module\n")
    assert ran.returncode == 2
    assert "no_such_module" in ran.stdout


def test_a_process_that_dies_fails_the_whole(side_by_side):
    ran = side_by_side(one="def test_a(): pass\n", two="import os\ndef test_b(): os._exit(0)\n")
    assert ran.returncode == 1
    assert "Not run exactly once:" in ran.stdout
    assert "test_two.py::test_b" in ran.stdout
