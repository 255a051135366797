"""Any change to a stored entry or to the database's file is found, and named.

Tampering is done as an attacker would: on the file itself, past the triggers.
"""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from serving.ledger import (
    Ledger,
    LedgerUnavailableError,
    Location,
    leaf_hash,
    prove,
    read_entries,
    verify,
)
from tests.ledger.conftest import Attacker
from tests.ledger.ten_entries import (
    ENTRIES,
    changed_text,
    found,
    note,
)

# --- entries ------------------------------------------------------------------------------------


def test_a_ledger_nobody_touched_is_good(ledger_path: Location, since: Path) -> None:
    assert verify(ledger_path, since=since).to_dict() == {
        "entries": ENTRIES,
        "segments": 0,
        "ok": True,
        "first_bad": None,
    }


def test_an_empty_ledger_is_good(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "empty.sqlite", create=True).close()
    report = verify(tmp_path / "empty.sqlite")
    assert (report.entries, report.ok) == (0, True)


@given(position=st.integers(0, ENTRIES - 1), at=st.integers(0, 10_000), mask=st.integers(1, 255))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_flipped_byte_in_an_entry_is_found_at_its_position(
    ledger_file: Path, position: int, at: int, mask: int
) -> None:
    copy = ledger_file.with_suffix(".copy")
    shutil.copy(ledger_file, copy)
    attacker = Attacker(copy)
    entry = bytearray(attacker.rows()[position][3])
    entry[at % len(entry)] ^= mask
    attacker.run(("UPDATE entries SET entry = ? WHERE position = ?", (bytes(entry), position)))
    bad = found(copy)
    assert (bad.position, bad.what) == (position, "entry changed")


def test_an_entry_changed_together_with_its_leaf_hash_is_found(attacker: Attacker) -> None:
    entry = changed_text(attacker.rows()[4][3])
    attacker.run(
        (
            "UPDATE entries SET entry = ?, leaf_hash = ? WHERE position = 4",
            (entry, leaf_hash(entry)),
        )
    )
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (4, "entry changed")


@pytest.mark.parametrize(
    ("column", "what"), [("leaf_hash", "leaf hash changed"), ("root", "root changed")]
)
def test_a_changed_hash_beside_an_intact_entry_is_named_so(
    attacker: Attacker, column: str, what: str
) -> None:
    attacker.run((f"UPDATE entries SET {column} = ? WHERE position = 4", (bytes(32),)))
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (4, what)


@pytest.mark.parametrize("columns", ["entry", "entry, leaf_hash", "entry, leaf_hash, root"])
def test_two_swapped_entries_are_found_with_or_without_their_hashes(
    attacker: Attacker, columns: str
) -> None:
    swap = (
        f"UPDATE entries SET ({columns}) = (SELECT {columns} FROM before "
        "WHERE before.position = 9 - entries.position) WHERE position IN (2, 7)"
    )
    attacker.run(("CREATE TABLE before AS SELECT * FROM entries", ()), (swap, ()))
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (2, "entries swapped")
    assert bad.detail == "the entry that belongs here is at position 7"


def test_a_deleted_middle_entry_is_found(attacker: Attacker) -> None:
    attacker.run(("DELETE FROM entries WHERE position = 5", ()))
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (5, "missing entry")
    assert bad.detail == "positions have no gap: expected 5, found 6"


def test_a_deleted_middle_entry_is_found_though_the_rest_was_renumbered(
    attacker: Attacker,
) -> None:
    attacker.run(
        ("DELETE FROM entries WHERE position = 5", ()),
        ("UPDATE entries SET position = -position WHERE position > 5", ()),
        ("UPDATE entries SET position = -position - 1 WHERE position < 0", ()),
    )
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (5, "entry changed")
    assert "one was taken out and the rest renumbered" in bad.detail


def test_a_deleted_last_entry_contradicts_the_state_of_the_tree(attacker: Attacker) -> None:
    attacker.run(("DELETE FROM entries WHERE position = 9", ()))
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (9, "truncated")
    with pytest.raises(InputError, match="the tree counts 10 entries, the last position is 8"):
        Ledger.open(attacker.path)


def test_a_clean_truncation_is_found_only_against_a_checkpoint(
    attacker: Attacker, since: Path
) -> None:
    """Whoever also adjusts the tree leaves a consistent log: without ``since`` it is not found."""
    attacker.rewrite([row[3] for row in attacker.rows()[:-1]])
    assert verify(attacker.path).ok
    bad = found(attacker.path, since)
    assert (bad.position, bad.what) == (9, "truncated")
    assert bad.detail.endswith("counts 10 entries, 9 are left")


def test_a_consistent_rewriting_is_found_only_against_a_checkpoint(
    attacker: Attacker, since: Path
) -> None:
    """One entry changed and every hash recomputed: without ``since`` it is not found."""
    entries = [row[3] for row in attacker.rows()]
    entries[3] = changed_text(entries[3])
    attacker.rewrite(entries)
    assert verify(attacker.path).ok
    bad = found(attacker.path, since)
    assert bad.what == "rewritten before checkpoint"
    assert bad.detail.startswith("an entry from position 0 to 9 is not the one")


def test_several_checkpoints_narrow_down_what_was_rewritten(
    attacker: Attacker, since: Path, tmp_path: Path
) -> None:
    with Ledger.open(attacker.path) as ledger:
        ledger.append([note(10), note(11)])
        ledger.checkpoint(tmp_path / "signing.key", since)
    entries = [row[3] for row in attacker.rows()]
    entries[11] = changed_text(entries[11])
    attacker.rewrite(entries)
    bad = found(attacker.path, since)
    assert bad.what == "rewritten before checkpoint"
    assert bad.detail.startswith("an entry from position 10 to 11 is not the one")


def test_an_entry_that_is_not_canonical_is_found_though_its_hashes_fit(
    attacker: Attacker,
) -> None:
    entries = [row[3] for row in attacker.rows()]
    entries[6] = entries[6].replace(b'"number":6', b'"number": 6')
    attacker.rewrite(entries)
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (6, "entry not canonical")
    entries[6] = b'{"body":{},"kind":"note"}'
    attacker.rewrite(entries)
    assert found(attacker.path).what == "entry not canonical"


def test_a_redirected_idempotency_key_is_found(attacker: Attacker) -> None:
    attacker.run(("UPDATE idempotency SET position = 2 WHERE key = 'note-7'", ()))
    bad = found(attacker.path)
    assert (bad.position, bad.what) == (2, "idempotency record changed")


# --- the database file --------------------------------------------------------------------------


@given(at=st.integers(0, 1_000_000), mask=st.integers(1, 255))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_flipped_byte_anywhere_in_the_file_is_found_or_changes_no_entry(
    ledger_file: Path, at: int, mask: int
) -> None:
    before = list(read_entries(ledger_file))
    content = bytearray(ledger_file.read_bytes())
    content[at % len(content)] ^= mask
    copy = ledger_file.with_suffix(".copy")
    copy.write_bytes(content)
    for leftover in (".copy-wal", ".copy-shm"):
        ledger_file.with_suffix(leftover).unlink(missing_ok=True)
    report = verify(copy)
    if report.ok:
        assert list(read_entries(copy)) == before
    else:
        assert report.first_bad is not None
    # Whatever else reads the file gives a right answer or a refusal, never a traceback.
    with contextlib.suppress(InputError):
        assert prove(copy, 3)["entry"] == prove(ledger_file, 3)["entry"]
    with contextlib.suppress(InputError, LedgerUnavailableError):
        Ledger.open(copy).close()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_a_file_that_is_no_ledger_is_unreadable(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(content)
    bad = found(file)
    assert (bad.position, bad.what) == (None, "database unreadable")
    with pytest.raises(InputError, match="a ledger is used only while it is whole"):
        Ledger.open(file)


def test_a_file_cut_in_half_is_unreadable(ledger_file: Path) -> None:
    content = ledger_file.read_bytes()
    ledger_file.write_bytes(content[: len(content) // 2])
    assert found(ledger_file).what == "database unreadable"
    with pytest.raises(InputError, match="run 'gearline ledger verify'"):
        prove(ledger_file, 0)


def test_a_ledger_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a ledger is an existing file: .*none\.sqlite is none"):
        verify(tmp_path / "none.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_ledger_on_a_read_only_disk_is_verified(ledger_file: Path) -> None:
    ledger_file.chmod(0o444)
    ledger_file.parent.chmod(0o555)
    try:
        assert verify(ledger_file).ok
    finally:
        ledger_file.parent.chmod(0o755)
