"""Any change to a stored entry or segment is found, and named.

Tampering is done as an attacker would: on the file itself, past the triggers.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from serving.ledger import (
    FirstBad,
    Ledger,
    LedgerUnavailableError,
    Location,
    leaf_hash,
    prove,
    read_entries,
    verify,
)
from serving.ledger.checkpoint import Checkpoint
from tests.ledger.conftest import Attacker

ENTRIES = 10


def ticking_clock() -> Callable[[], datetime]:
    moment = datetime(2024, 3, 1, 10, 0, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal moment
        moment += timedelta(microseconds=1)
        return moment

    return clock


def note(number: int) -> dict[str, object]:
    return {"kind": "note", "body": {"number": number, "text": f"entry {number} 融资"}}


def decision_hashes(path: Path) -> list[bytes]:
    """The segment reader of these tests: a segment file is its decision hashes in hex lines."""
    return [bytes.fromhex(line) for line in path.read_text().split()]


def write_segment(path: Path, rows: int) -> list[bytes]:
    hashes = [hashlib.sha256(str(row).encode()).digest() for row in range(rows)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(digest.hex() + "\n" for digest in hashes))
    return hashes


def filled(where: Location) -> Location:
    """The ledger with ten entries under one idempotency key each."""
    with Ledger.open(where, create=True, clock=ticking_clock()) as ledger:
        ledger.append(
            [note(number) for number in range(ENTRIES)],
            idempotency_keys=[f"note-{number}" for number in range(ENTRIES)],
        )
    return where


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """A closed ledger of ten entries in a file."""
    return Path(filled(tmp_path / "ledger.sqlite"))


@pytest.fixture
def ledger_path(path: Location) -> Location:
    """A closed ledger of ten entries on either database."""
    return filled(path)


@pytest.fixture
def since(ledger_path: Location, tmp_path: Path) -> Path:
    """A checkpoint file kept away from the ledger."""
    vault = tmp_path / "vault"
    vault.mkdir()
    with Ledger.open(ledger_path, clock=ticking_clock()) as ledger:
        ledger.checkpoint(tmp_path / "signing.key", vault / "checkpoints.jsonl")
    return vault / "checkpoints.jsonl"


@pytest.fixture
def attacker(ledger_path: Location) -> Attacker:
    return Attacker(ledger_path)


def found(path: Location, since: Path | None = None) -> FirstBad:
    report = verify(path, since=since, segment_reader=decision_hashes)
    assert not report.ok
    assert report.first_bad is not None
    return report.first_bad


def changed_text(entry: bytes) -> bytes:
    return entry.replace(b'"text":"entry', b'"text":"Entry')


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


# --- checkpoints --------------------------------------------------------------------------------


def test_a_checkpoint_altered_by_hand_has_a_bad_signature(
    ledger_path: Location, since: Path
) -> None:
    document = orjson.loads(since.read_bytes())
    document["size"] = 9
    since.write_bytes(Checkpoint(**document).to_line())
    bad = found(ledger_path, since)
    assert (bad.position, bad.what) == (None, "bad checkpoint signature")
    assert bad.detail.endswith("the signature does not match")


def test_a_checkpoint_signed_by_another_key_has_a_bad_signature(
    ledger_path: Location, since: Path, tmp_path: Path
) -> None:
    with Ledger.open(ledger_path) as ledger:
        ledger.checkpoint(tmp_path / "attackers.key", tmp_path / "forged.jsonl")
    since.write_bytes((tmp_path / "forged.jsonl").read_bytes())
    bad = found(ledger_path, since)
    assert bad.what == "bad checkpoint signature"
    assert bad.detail.endswith("no public key with this id")


def test_a_line_that_is_no_checkpoint_is_named(ledger_path: Location, since: Path) -> None:
    since.write_bytes(since.read_bytes() + b"{}\n")
    bad = found(ledger_path, since)
    assert bad.what == "checkpoint unreadable"
    assert "line 2" in bad.detail


def test_missing_checkpoints_or_keys_are_refused_rather_than_passed(
    ledger_path: Location, since: Path
) -> None:
    with pytest.raises(InputError, match="verifying since a checkpoint needs the checkpoint file"):
        verify(ledger_path, since=since.with_name("other"))
    since.with_name("checkpoints.jsonl.pub").rename(since.with_name("moved.pub"))
    with pytest.raises(InputError, match="checkpoints are verified with a public key file"):
        verify(ledger_path, since=since)
    assert verify(ledger_path, since=since, public_key=since.with_name("moved.pub")).ok
    since.write_bytes(b"")
    with pytest.raises(InputError, match="a checkpoint file holds at least one checkpoint"):
        verify(ledger_path, since=since, public_key=since.with_name("moved.pub"))


def test_the_signing_key_is_readable_by_its_owner_only_and_used_again(
    ledger_path: Location, since: Path, tmp_path: Path
) -> None:
    key = tmp_path / "signing.key"
    assert key.stat().st_mode & 0o777 == 0o600
    with Ledger.open(ledger_path) as ledger:
        again = ledger.checkpoint(key, since)
    first, second = (Checkpoint.parse(line) for line in since.read_bytes().splitlines())
    assert second == again
    assert (first.key_id, first.root) == (again.key_id, again.root)
    published = since.with_name("checkpoints.jsonl.pub").read_text()
    assert published.splitlines() == (tmp_path / "signing.key.pub").read_text().splitlines()


def test_a_changed_signing_key_leaves_earlier_checkpoints_verifiable(
    ledger_path: Location, since: Path, tmp_path: Path
) -> None:
    with Ledger.open(ledger_path) as ledger:
        ledger.checkpoint(tmp_path / "next.key", since)
    assert verify(ledger_path, since=since).ok


def test_a_truncated_ledger_gets_no_further_checkpoint(
    attacker: Attacker, since: Path, tmp_path: Path
) -> None:
    attacker.rewrite([row[3] for row in attacker.rows()[:-1]])
    with (
        Ledger.open(attacker.path) as ledger,
        pytest.raises(InputError, match="a checkpoint extends the one before it"),
    ):
        ledger.checkpoint(tmp_path / "signing.key", since)


def test_a_checkpoint_line_cut_short_by_a_crash_is_replaced(
    ledger_path: Location, since: Path, tmp_path: Path
) -> None:
    whole = since.read_bytes()
    since.write_bytes(whole + whole[: len(whole) // 2])
    with Ledger.open(ledger_path) as ledger:
        ledger.checkpoint(tmp_path / "signing.key", since)
    assert len(since.read_bytes().splitlines()) == 2
    assert verify(ledger_path, since=since).ok


# --- segments -----------------------------------------------------------------------------------


@pytest.fixture
def segment(ledger_file: Path) -> Path:
    """A sealed segment of five decisions at position 10."""
    file = ledger_file.parent / "segments" / "bucket=007.txt"
    hashes = write_segment(file, rows=5)
    with Ledger.open(ledger_file) as ledger:
        position = ledger.seal_segment(
            run_id="night-1", bucket=7, file=file, decisions_sha256=hashes
        )
    assert position == ENTRIES
    return file


def test_a_sealed_segment_is_checked(ledger_file: Path, segment: Path) -> None:
    report = verify(ledger_file, segment_reader=decision_hashes)
    assert (report.ok, report.segments) == (True, 1)
    *_, entry = read_entries(ledger_file)
    assert entry.kind == "segment"
    assert entry.body["file"] == "segments/bucket=007.txt"
    assert entry.body["rows"] == 5


def test_segments_are_found_under_another_base_folder(
    ledger_file: Path, segment: Path, tmp_path: Path
) -> None:
    (tmp_path / "moved").mkdir()
    segment.parent.rename(tmp_path / "moved" / "segments")
    assert verify(ledger_file, base_dir=tmp_path / "moved", segment_reader=decision_hashes).ok


def test_a_segment_file_that_is_gone_is_named(ledger_file: Path, segment: Path) -> None:
    segment.unlink()
    bad = found(ledger_file)
    assert (bad.position, bad.what) == (ENTRIES, "segment file missing")


@given(at=st.integers(0, 5 * 65 - 1), mask=st.integers(1, 255))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_flipped_byte_in_a_segment_file_is_found(
    ledger_file: Path, segment: Path, at: int, mask: int
) -> None:
    good = segment.read_bytes()
    changed = bytearray(good)
    changed[at] ^= mask
    segment.write_bytes(changed)
    bad = found(ledger_file)
    segment.write_bytes(good)
    assert (bad.position, bad.what) == (ENTRIES, "segment file changed")


def test_a_segment_sealed_with_hashes_its_file_does_not_hold_is_found(ledger_file: Path) -> None:
    file = ledger_file.parent / "segments" / "bucket=008.txt"
    hashes = write_segment(file, rows=5)
    with Ledger.open(ledger_file) as ledger:
        ledger.seal_segment(
            run_id="night-1", bucket=8, file=file, decisions_sha256=[*hashes[1:], hashes[0]]
        )
    assert verify(ledger_file).ok  # without a reader only the file's own hash is checked
    assert found(ledger_file).what == "segment rows differ"


def test_a_segment_whose_reader_fails_is_a_finding(ledger_file: Path, segment: Path) -> None:
    def broken(file: Path) -> list[bytes]:
        raise OSError("no such codec")

    bad = verify(ledger_file, segment_reader=broken).first_bad
    assert bad is not None
    assert bad.what == "segment rows differ"
    assert bad.detail.endswith("cannot be read: no such codec")


def test_a_segment_entry_leading_out_of_the_base_folder_is_never_followed(
    ledger_file: Path, segment: Path
) -> None:
    attacker = Attacker(ledger_file)
    entries = [row[3] for row in attacker.rows()]
    entries[-1] = entries[-1].replace(b"segments/bucket", b"../../etc/bucket")
    attacker.rewrite(entries)
    assert found(attacker.path).what == "segment entry invalid"


def test_sealing_the_same_bucket_again_returns_the_first_position(
    ledger_file: Path, segment: Path
) -> None:
    hashes = decision_hashes(segment)
    with Ledger.open(ledger_file) as ledger:
        again = ledger.seal_segment(
            run_id="night-1", bucket=7, file=segment, decisions_sha256=hashes
        )
        assert again == ENTRIES
        with pytest.raises(InputError, match="'segment/night-1/7' was recorded with another"):
            ledger.seal_segment(
                run_id="night-1", bucket=7, file=segment, decisions_sha256=hashes[:-1]
            )


def test_a_segment_file_outside_the_base_folder_or_missing_is_not_sealed(
    ledger_file: Path, tmp_path: Path
) -> None:
    with Ledger.open(ledger_file) as ledger:
        for file, message in [
            ("../elsewhere", "leads out of it"),
            ("/elsewhere", "is not under"),
            ("missing", "a segment is sealed once its file is written"),
        ]:
            with pytest.raises(InputError, match=message):
                ledger.seal_segment(run_id="r", bucket=0, file=file, decisions_sha256=[])
