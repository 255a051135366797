"""Identities are readable by key alone, erased with it, and nothing that was decided changes."""

from __future__ import annotations

import datetime as dt
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from serving.identities import (
    KEY_FILE,
    ErasedError,
    Erasure,
    Identities,
    LocalKeyService,
    RetentionError,
    check_erasure,
    keep_until,
)
from serving.ledger import Ledger, LedgerReader, verify
from serving.replay import replay_sample
from tests.service.lake import make_lake

ANNA = {"name": "Anna Beispiel 王", "document": "P1234567"}
TODAY = dt.date(2024, 3, 18)
OVER = dt.date(2024, 1, 1)


def wish(client="c00", **changes):
    return Erasure(client, "officer", "asked by the client", **{"keep_until": OVER, **changes})


@pytest.fixture
def lake(tmp_path):
    make_lake(tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def store(lake):
    found = Identities(lake / "identities.sqlite", LocalKeyService(lake / KEY_FILE))
    yield found
    found.close()


@pytest.fixture
def ledger(lake):
    with Ledger.open(lake / "ledger.sqlite") as found:
        yield found


def test_an_identity_comes_back_as_it_was_and_lies_nowhere_in_clear(lake, store):
    store.put("c00", ANNA)
    store.put("c01", {"name": "Other"})
    assert store.get("c00") == ANNA
    store.put("c00", {**ANNA, "document": "P7654321"})
    assert store.get("c00")["document"] == "P7654321"
    for file in lake.glob("identities*"):
        content = file.read_bytes()
        assert b"Anna" not in content
        assert b"P1234567" not in content
    assert (lake / KEY_FILE).stat().st_mode & 0o077 == 0


def test_another_clients_ciphertext_or_key_and_a_changed_byte_are_refused(lake, store):
    store.put("c00", ANNA)
    store.put("c01", {"name": "Other"})
    with sqlite3.connect(lake / "identities.sqlite") as raw:
        [sealed] = raw.execute(
            "SELECT ciphertext FROM identities WHERE client_id = 'c01'"
        ).fetchone()
        raw.execute("UPDATE identities SET ciphertext = ? WHERE client_id = 'c00'", (sealed,))
    raw.close()
    with pytest.raises(InputError, match="was changed, or is another's"):
        store.get("c00")
    other = Identities(lake / "identities.sqlite", LocalKeyService(lake / "keys" / "other.key"))
    with pytest.raises(InputError, match="was changed, or is another's"):
        other.get("c01")
    other.close()


def test_after_erasure_nobody_reads_it_and_the_key_is_in_no_file(lake, store, ledger):
    store.put("c00", ANNA)
    with sqlite3.connect(lake / "identities.sqlite") as raw:
        [wrapped] = raw.execute("SELECT wrapped FROM data_keys").fetchone()
    raw.close()
    position = store.erase(wish(), TODAY, ledger)
    with pytest.raises(ErasedError, match="was erased"):
        store.get("c00")
    with pytest.raises(ErasedError, match="a new relation gets a new number"):
        store.put("c00", ANNA)
    assert not [f for f in lake.glob("identities*") if wrapped in f.read_bytes()]
    with LedgerReader(ledger.where) as reader:
        entry = reader.entry(position)
    assert (entry.kind, entry.body["asked_by"]) == ("identity_erased", "officer")
    assert "Anna" not in str(entry.body)


def test_after_erasure_everything_still_verifies_and_replays(lake, store, ledger):
    store.put("c00", ANNA)
    store.erase(wish(), TODAY, ledger)
    assert verify(ledger.where, base_dir=lake).ok
    report = replay_sample(lake, ledger.where, 100, 7)
    assert report.equal == report.checked > 0


def test_an_erasure_broken_off_between_entry_and_key_is_seen_and_finished_once(store, ledger):
    store.put("c00", ANNA)

    class GoneError(Exception):
        pass

    class Dying:
        def __init__(self, real):
            self.real = real

        def execute(self, sql, *more):
            if sql.startswith("DELETE"):
                raise GoneError
            return self.real.execute(sql, *more)

    real = store._connection
    store._connection = Dying(real)
    with pytest.raises(GoneError):
        store.erase(wish(), TODAY, ledger)
    store._connection = real
    size = ledger.head().size
    with LedgerReader(ledger.where) as reader:
        assert store.unfinished(reader) == ["c00"]
        store.erase(wish(), TODAY, ledger)
        assert store.unfinished(reader) == []
    assert ledger.head().size == size


def test_while_retention_runs_two_people_other_than_the_asker_must_override(store, ledger):
    store.put("c00", ANNA)
    running = {"keep_until": keep_until(TODAY)}
    for agreed in ((), ("ann",), ("ann", "officer"), ("ann", "ann")):
        with pytest.raises(RetentionError, match="until retention ends: this one until 2044-03-18"):
            store.erase(wish(**running, overridden_by=agreed), TODAY, ledger)
    assert store.get("c00") == ANNA
    store.erase(wish(**running, overridden_by=("ann", "bob")), TODAY, ledger)


@given(st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)), st.integers(1, 30))
def test_retention_ends_after_whole_years_and_not_a_day_before(last, years):
    end = keep_until(last, years)
    assert (end.year - last.year, end.month) in ((years, last.month), (years, 3))
    wanted = Erasure("c", "a", "r", end)
    with pytest.raises(RetentionError):
        check_erasure(wanted, end)
    check_erasure(wanted, end + dt.timedelta(days=1))
