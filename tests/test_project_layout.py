"""The checkout is what it says: its own packages, a complete lock, no trace of one machine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data_contracts", "features", "models", "training", "serving")

# Written in two parts so that this file does not contain what it looks for.
REGISTRY_HOSTS = tuple(
    f"{name}.{domain}"
    for name, domain in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("anaconda", "org"),
    )
)
# A path below the directories where people and build machines keep their checkouts. A preceding
# word character, dot or bracket means a relative path, an address or a template instead.
MACHINE_PATH = re.compile(
    r"(?<![\w.~)}\-])/(?:root|work|workspace|builds|(?:home|Users)/(?!bentoml/)[\w.-]+)/"
    r"|\b[A-Z]:\\Users\\"
)
# Never looked into when the files are listed without git.
NOT_SOURCE = {".git", ".venv", "out", "build", "dist", "mlruns", "__pycache__", ".hypothesis"}


def project_files() -> list[Path]:
    """Return the tracked files; in a copy that git does not track, all that are not built."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False
    )
    names = [os.fsdecode(name) for name in listing.stdout.split(b"\0") if name]
    if listing.returncode == 0 and names:
        return [path for path in map(ROOT.joinpath, names) if path.is_file()]
    found = []
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = [
            name for name in subfolders if name not in NOT_SOURCE and not name.endswith("_cache")
        ]
        found += [Path(folder, name) for name in files]
    return found


def project_texts() -> dict[str, str]:
    """Return the text of each project file by its name; binary files are left out."""
    texts = {}
    for path in project_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        texts[path.relative_to(ROOT).as_posix()] = content.decode("utf-8", errors="replace")
    return texts


def locked_requirements() -> dict[str, list[str]]:
    """Return the lock's logical lines by requirement: the options that follow each."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    split = [re.split(r"\s+(?=--)", line.strip()) for line in logical if line.strip()]
    return {requirement: options for requirement, *options in split}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    assert match, f"not a requirement: {requirement!r}"
    return normalised(match.group())


@pytest.mark.parametrize("name", [*PACKAGES, "gearline"])
def test_top_level_name_resolves_to_this_checkout(name: str, tmp_path: Path) -> None:
    # -I leaves out the working directory and PYTHONPATH: only what is installed can answer.
    program = (
        "import importlib.util as u, sys; s = u.find_spec(sys.argv[1]);"
        "print(s.origin if s else 'nothing')"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", program, name],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.strip()
    expected = ROOT / f"{name}.py" if name == "gearline" else ROOT / name / "__init__.py"
    assert Path(answer) == expected, (
        f"{name!r} is imported from {answer}, not from {expected}; run `make install`"
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_package_says_what_it_holds_and_ships_its_types(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()
    first = (ROOT / name / "__init__.py").read_text("utf-8").lstrip()
    assert first.startswith('"""'), f"{name}/__init__.py starts without a docstring"


def test_no_project_file_names_a_package_registry() -> None:
    found = [
        f"{name}: {host}"
        for name, text in project_texts().items()
        for host in REGISTRY_HOSTS
        if re.search(rf"\b{re.escape(host)}\b", text)
    ]
    assert not found, f"take these registry host names out: {found}"


def test_no_project_file_holds_a_path_of_one_machine() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in project_texts().items()
        for match in MACHINE_PATH.finditer(text)
    ]
    assert not found, f"make these paths relative: {found}"


def test_tests_are_not_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_lock_pins_and_hashes_every_requirement() -> None:
    locked = locked_requirements()
    assert locked, "requirements.lock is empty; run `make lock`"
    for requirement, options in locked.items():
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\S+", requirement), (
            f"not an exact version, or an installer option: {requirement!r}"
        )
        assert options, f"no hash for {requirement!r}; run `make lock`"
        for option in options:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option), f"{requirement}: {option}"


def test_lock_covers_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {
        requirement_name(requirement)
        for group in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in group
    }
    locked = {requirement_name(requirement) for requirement in locked_requirements()}
    assert declared <= locked, f"run `make lock`; it misses {sorted(declared - locked)}"
