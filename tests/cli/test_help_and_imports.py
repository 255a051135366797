"""Help with an example for every verb, no library that a verb can do without, a clean end."""

import argparse
import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

import gearline
from models.policy import commands

HEAVY = (
    "numpy", "pandas", "pyarrow", "lightgbm", "shap", "sklearn", "mlflow", "duckdb", "matplotlib",
)  # fmt: skip
NOT_TO_DECIDE = ("lightgbm", "shap", "sklearn", "mlflow", "pandas", "matplotlib")
PATIENCE_S = 60
"""Far more than any of these takes; a hang fails instead of stopping the suite."""

RUN = """
import json, sys
import gearline
try:
    code = gearline.main(sys.argv[2:])
except SystemExit as stop:
    code = stop.code
heavy = sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1].split(",")))
print(json.dumps({"code": code, "heavy": heavy}), file=sys.stderr)
"""

ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

SLOW_LIVES = """
import importlib, sys, time
import gearline
simulate = importlib.import_module("training.lab.simulate")

def live(*arguments):
    print("living", flush=True)
    time.sleep(0.01)

simulate.compile_engine = lambda stage: None
simulate._live = live
importlib.import_module("training.lab.run").compile_engine = lambda stage: None
sys.exit(gearline.main(sys.argv[1:]))
"""


def parsers(parser=None, words=()):
    """Every verb and sub-verb with its parser, the command line itself among them."""
    parser = parser or gearline.build_parser()
    yield " ".join(words), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from parsers(below, (*words, word))


def examples(parser):
    """The commands of a parser's example, as arguments."""
    text = parser.epilog.partition("example:\n")[2]
    commands = " ".join(text.split()).partition(" > ")[0].split(" && ")
    return [shlex.split(command) for command in commands]


def run_python(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("words", [words for words, _ in parsers()])
def test_help_exits_with_0_and_shows_an_example_that_parses(words):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit) as stop:
        gearline.main([*words.split(), "--help"])
    assert stop.value.code == 0
    assert "\nexample:\n  gearline " in shown.getvalue()
    for program, *arguments in examples(dict(parsers())[words]):
        assert program == "gearline"
        parsed = vars(gearline.build_parser().parse_args(arguments))
        named = " ".join(str(parsed[k]) for k in ("verb", f"{parsed['verb']}_verb") if k in parsed)
        assert named.startswith(words)


def test_every_option_and_argument_says_what_it_is():
    for words, parser in parsers():
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help, f"{words} {action.dest} has no help"


def test_help_imports_no_heavy_library():
    ran = run_python(RUN, ",".join(HEAVY), "--help")
    assert json.loads(ran.stderr) == {"code": 0, "heavy": []}
    assert ran.stdout.startswith("usage: gearline")


def test_an_import_that_happens_is_seen():
    ran = run_python(RUN, ",".join(HEAVY), "policy", "show", "us", "--as-of", "2020-01-02")
    assert json.loads(ran.stderr) == {"code": 0, "heavy": ["numpy"]}


@pytest.mark.parametrize(
    "command",
    [
        "decide {demo}/case.json",
        "reprice {demo} --as-of 2020-03-20 --dry-run",
        "replay --sample 5 --lake {demo}",
        "ledger verify --lake {demo}",
    ],
)
def test_what_decides_and_looks_back_works_where_no_training_library_is_installed(
    command, small_demo
):
    # pyarrow imports pandas wherever it finds it; where it is absent nothing may miss it
    arguments = command.format(demo=small_demo.path).split()
    ran = run_python(ABSENT + RUN, ",".join(NOT_TO_DECIDE), *arguments)
    assert json.loads(ran.stderr) == {"code": 0, "heavy": []}
    assert ran.stdout


def test_training_is_what_fails_there(tiny_lake, tmp_path):
    ran = run_python(
        ABSENT + RUN, ",".join(NOT_TO_DECIDE), "train", tiny_lake, "--out", tmp_path / "bundle"
    )
    assert "No module named 'lightgbm'" in ran.stderr


def test_ctrl_c_ends_a_verb_with_130_and_one_line(cli, monkeypatch):
    def interrupted(arguments, stages):
        print("half a document")
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run_show", interrupted)
    ran = cli("policy", "show", "us", "--as-of", "2020-01-02", "--json")
    assert ran.code == gearline.INTERRUPTED == 130
    assert ran.out == ""
    assert ran.err == "half a document\ngearline: interrupted; the same command starts again\n"


def test_ctrl_c_in_the_middle_of_a_simulation_ends_it_soon_and_writes_nothing(
    tiny_market, tmp_path
):
    period = ["--from", "2014-01-01", "--to", "2014-12-31", "--clients", "20000"]
    arguments = ["lab", "simulate", "--market", tiny_market, *period, "--out", tmp_path / "lake"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_LIVES, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "living\n"
        running.send_signal(signal.SIGINT)
        err = running.communicate(timeout=PATIENCE_S)[1]
    assert running.returncode == gearline.INTERRUPTED
    assert err == "gearline: interrupted; the same command starts again\n"
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    "command",
    [
        "ledger export --lake {demo}",
        "ledger export --lake {demo} --json",
        "policy show us --as-of 2020-01-02",
    ],
)
def test_a_reader_that_has_gone_is_no_error(command, small_demo):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "gearline", *command.format(demo=small_demo.path).split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    finally:
        os.close(writing)
    assert (ran.returncode, ran.stderr) == (gearline.DONE, "")


def test_the_first_line_of_an_export_can_be_taken(small_demo):
    export = f"{shlex.quote(sys.executable)} -m gearline ledger export --lake"
    ran = subprocess.run(
        f"{export} {shlex.quote(str(small_demo.path))} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert json.loads(ran.stdout)["kind"] == "run_started"
    assert "Traceback" not in ran.stderr
