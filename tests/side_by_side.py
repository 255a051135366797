"""Every test once, in several processes: ``python -m tests.side_by_side [options of pytest]``.

Each process collects all tests and then takes file after file that no other has taken. The tests
of a file stay in one process, in their order, so what a module's fixtures make is made once; a
process stays in the folder it is in while that has files left, for the fixtures of the folder.
At the end the tests run are compared with those collected: none may be left out or run twice.

As a plugin of pytest (``-p tests.side_by_side --beside DIR``) it is one such process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

PROCESSES = 3
"""One more than two cores: tests of crashes and of servers mostly wait."""

FIRST = ("service", "console", "cli", "serving", "lab")
"""Folders that take longest, begun first: none of them may be left alone at the end."""

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def once(config: pytest.Config, alone: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name``, filled by ``make(folder)`` once for all processes; to be read only.

    ``alone`` is where it lies when this process runs by itself.
    """
    shared: Path | None = config.getoption("--beside", None)
    parent = shared or alone
    made, done = parent / name, parent / f"{name}.done"
    with (parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(made, ignore_errors=True)  # of a process that failed at it
            made.mkdir()
            make(made)
            done.touch()
    return made


def _claim(beside: Path, path: Path) -> bool:
    """Whether no process had claimed this file or folder before: the first to ask gets it."""
    name = hashlib.sha256(os.fsencode(path)).hexdigest()
    try:
        beside.joinpath("claimed", name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def files_to_run(files: Sequence[Path], beside: Path) -> Iterator[Path]:
    """The files that fall to this process; each is claimed only when it is asked for."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)

    def rank(folder: Path) -> int:
        return FIRST.index(folder.name) if folder.name in FIRST else len(FIRST)

    order = sorted(folders, key=rank)
    for folder in order:
        if _claim(beside, folder):
            yield from (file for file in folders[folder] if _claim(beside, file))
    # All are begun: what is left of the other processes' folders.
    for folder in order:
        yield from (file for file in folders[folder] if _claim(beside, file))


# --- one process, as a plugin of pytest -------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--beside", type=Path, metavar="DIR", help="run only files unclaimed in DIR")


def _items(session: pytest.Session, beside: Path) -> Iterator[pytest.Item]:
    by_file: dict[Path, list[pytest.Item]] = {}
    for item in session.items:
        by_file.setdefault(item.path, []).append(item)
    for file in files_to_run(list(by_file), beside):
        yield from by_file[file]


def _run_all(session: pytest.Session, items: Iterator[pytest.Item], ran: list[str]) -> None:
    item = next(items, None)
    while item is not None:
        # What the item's fixtures leave behind is kept as far as the next one uses it too.
        following = next(items, None)
        ran.append(item.nodeid)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Pytest's own loop, over the items of claimed files."""
    beside: Path | None = session.config.getoption("--beside")
    if beside is None or session.testsfailed or session.config.option.collectonly:
        return None
    ran: list[str] = []
    try:
        _run_all(session, _items(session, beside), ran)
    finally:
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        told = {
            "collected": [item.nodeid for item in session.items],
            "ran": ran,
            "outcomes": {outcome: len(reporter.stats.get(outcome, ())) for outcome in OUTCOMES},
        }
        beside.joinpath(f"told-{os.getpid()}.json").write_text(json.dumps(told))
    return True


# --- all processes ----------------------------------------------------------------------------


def left_out_or_twice(told: Sequence[dict[str, Any]]) -> list[str]:
    """The tests that not exactly one process ran, of those that any collected."""
    ran = Counter(test for one in told for test in one["ran"])
    collected = {test for one in told for test in one["collected"]}
    return sorted(test for test in collected | set(ran) if ran[test] != 1)


def main(options: Sequence[str]) -> int:
    """Run all tests; the exit code is the first process's that is not 0."""
    with tempfile.TemporaryDirectory(prefix="gearline-tests-") as folder:
        beside = Path(folder)
        beside.chmod(0o755)  # a PostgreSQL server runs as another user
        beside.joinpath("claimed").mkdir()
        # said outright: pytest would look for its settings above the folder given as an option
        settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
        plugin = ["-p", "tests.side_by_side", f"--beside={folder}"]
        common = [sys.executable, "-m", "pytest", *settings, *plugin]
        common += ["-p", "no:cacheprovider", *options]
        running: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(PROCESSES):
                command = [*common, f"--basetemp={beside / str(number)}"]
                with beside.joinpath(f"output-{number}").open("wb") as output:
                    # The first one's lines are seen at once, the others' when it has ended.
                    where = output if number else None
                    running.append(subprocess.Popen(command, cwd=ROOT, stdout=where, stderr=where))
            for number, process in enumerate(running):
                process.wait()
                sys.stdout.flush()
                with beside.joinpath(f"output-{number}").open("rb") as told_later:
                    shutil.copyfileobj(told_later, sys.stdout.buffer)
                sys.stdout.flush()
        finally:  # when interrupted, so are they: their folders go after them
            codes = [process.wait() for process in running]
        told = [json.loads(path.read_text()) for path in sorted(beside.glob("told-*.json"))]
    code = next((code for code in codes if code), 0)
    if code == 0 and (wrong := left_out_or_twice(told)):
        print("Not run exactly once:", *wrong, sep="\n  ")
        code = 1
    totals = Counter[str]()
    for one in told:
        totals.update(one["outcomes"])
    failed = totals["failed"] + totals["error"]
    rest = ", ".join(f"{totals[name]} {name}" for name in ("xfailed", "xpassed") if totals[name])
    if rest:
        print(f"Of all processes: {rest}")
    print(f"{totals['passed']} passed, {failed} failed, {totals['skipped']} skipped")
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
