"""A PostgreSQL server, and a small lake on either ledger with nights that may be published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from serving.ledger import Ledger, Location
from tests.postgresql import new_database
from tests.service.lake import PLAIN, add_night, make_lake

SHIFTED = dict.fromkeys(PLAIN[:5], (25, 4, 2, 1))
"""Features of five clients of a night that is not like the others, and yet passes or is held."""
BROKEN = dict.fromkeys(PLAIN, (40, 0, 3, 5))
"""Features that no gate lets through."""


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Location]:
    """A lake with two like nights, its ledger on each database."""
    where = None
    if request.param == "postgresql":
        where = new_database(request.getfixturevalue("server"))
    root = tmp_path / "lake"
    return root, make_lake(root, where, nights=("night-1", "night-2"))


@pytest.fixture
def night() -> Callable[..., None]:
    """``night(root, where, run_id, values)`` decides one more night."""

    def add(
        root: Path, where: Location, run_id: str, values: Mapping[str, tuple[int, ...]]
    ) -> None:
        with Ledger.open(where) as record:
            add_night(root, record, run_id, values)

    return add
