"""A small lake nothing was decided on, and a night on it that nobody disturbed."""

from __future__ import annotations

import pytest

from tests.serving.engines.nights import copy_of, reprice
from tests.serving.small_lake import make_lake


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A lake nothing was decided on, and its two nights: read it only."""
    return make_lake(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def unbroken(made, tmp_path_factory):
    """A night on one process that nobody disturbed: its lake and what it printed."""
    lake = copy_of(made[0], tmp_path_factory.mktemp("unbroken"))
    return lake, reprice(lake, made[1][0], "--threads", 1)
