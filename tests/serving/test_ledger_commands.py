"""The ledger on the command line: what is changed is found and named; proofs hold without us.

The tree of RFC 9162 is written anew here from ``hashlib`` alone, for the attacker and the checker.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import duckdb
import pytest

ENTRIES = 12
"""Two nights, each begun, four segments sealed, finished."""


def sha256(data):
    return hashlib.sha256(data).digest()


def tree_head(leaves):
    """MTH of RFC 9162, 2.1.1, over the leaves' data."""
    if len(leaves) < 2:
        return sha256(b"\x00" + leaves[0]) if leaves else sha256(b"")
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + tree_head(leaves[:split]) + tree_head(leaves[split:]))


def leads_to_root(document):
    """Check a printed inclusion proof as RFC 9162, 2.1.3.2 says."""
    node, last = document["position"], document["size"] - 1
    if not 0 <= node <= last:
        return False
    running = sha256(b"\x00" + document["entry"].encode())
    for step in map(bytes.fromhex, document["proof"]):
        if last == 0:
            return False
        if node % 2 == 1 or node == last:
            running = sha256(b"\x01" + step + running)
            while node % 2 == 0 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            running = sha256(b"\x01" + running + step)
        node, last = node >> 1, last >> 1
    return last == 0 and running.hex() == document["root"]


class Attacker:
    """Has write access to the database file, knows its format, and lacks the signing key."""

    def __init__(self, path):
        self.path = path

    def run(self, *statements):
        """Run SQL after dropping every trigger."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        for (name,) in connection.execute(triggers).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for sql, *arguments in statements:
            connection.execute(sql, arguments)
        connection.close()

    def entries(self):
        connection = sqlite3.connect(self.path)
        found = connection.execute("SELECT entry FROM entries ORDER BY position").fetchall()
        connection.close()
        return [entry for (entry,) in found]

    def rewrite(self, entries):
        """Make ``entries`` the whole log, with every hash, the tree and the labels recomputed."""
        rows = [
            (k, sha256(b"\x00" + e), tree_head(entries[: k + 1]), e) for k, e in enumerate(entries)
        ]
        peaks, start = b"", 0
        for bit in reversed(range(len(entries).bit_length())):
            if len(entries) >> bit & 1:
                peaks += tree_head(entries[start : start + (1 << bit)])
                start += 1 << bit
        insert = "INSERT INTO entries (position, leaf_hash, root, entry) VALUES (?, ?, ?, ?)"
        self.run(
            ("DELETE FROM entries",),
            *((insert, *row) for row in rows),
            ("UPDATE tree SET size = ?, peaks = ?", len(entries), peaks),
            ("DELETE FROM idempotency WHERE position >= ?", len(entries)),
            ("DELETE FROM labels WHERE position >= ?", len(entries)),
        )


@pytest.fixture
def attacker(record):
    return Attacker(record / "ledger.sqlite")


@pytest.fixture
def since(record, tmp_path):
    """The checkpoints, kept away from the ledger."""
    vault = tmp_path / "vault"
    vault.mkdir()
    for name in ("ledger.checkpoints", "ledger.checkpoints.pub"):
        shutil.copy(record / name, vault)
    return vault / "ledger.checkpoints"


@pytest.fixture
def verified(cli, record):
    """Run ``ledger verify`` in both forms; return the document once they agree."""

    def run(*arguments):
        ran = cli("ledger", "verify", "--lake", record, "--json", *arguments)
        plain = cli("ledger", "verify", "--lake", record, *arguments)
        document, bad = ran.document, ran.document["first_bad"]
        assert set(document) == {"entries", "segments", "ok", "first_bad"}
        assert document["ok"] is (bad is None)
        assert ran.code == plain.code == (0 if document["ok"] else 1)
        if bad is None:
            assert plain.out.splitlines()[1:] == []
            assert "all in order" in plain.out
        else:
            where = "the file" if bad["position"] is None else f"entry {bad['position']}"
            _, line = plain.out.splitlines()
            assert "NOT in order" in plain.out
            assert line == f"  {where}: {bad['what']}: {bad['detail']}"
        return document

    return run


def found(document):
    return document["first_bad"]["position"], document["first_bad"]["what"]


def segment_position(attacker, file):
    bodies = [json.loads(e)["body"] for e in attacker.entries()]
    [position] = [k for k, body in enumerate(bodies) if body.get("file") == file]
    return position


# --- verify ---------------------------------------------------------------------------------------


def test_a_record_nobody_touched_is_in_order(verified, since):
    whole = {"entries": ENTRIES, "segments": 8, "ok": True, "first_bad": None}
    assert verified() == whole
    assert verified("--since", since) == whole


def test_the_demos_record_is_in_order(cli, small_demo):
    path = small_demo.path
    ran = cli("ledger", "verify", "--lake", path, "--since", path / "ledger.checkpoints", "--json")
    nights = small_demo.summary["nights"]
    assert ran.code == 0
    assert (ran.document["entries"], ran.document["segments"]) == (6 * nights, 4 * nights)
    assert ran.document["ok"] is True


@pytest.mark.parametrize("position", [0, 4, ENTRIES - 1])
def test_a_flipped_byte_in_an_entry_is_found_at_its_position(attacker, verified, position):
    entry = bytearray(attacker.entries()[position])
    entry[entry.index(b"run_id") + 12] ^= 1
    attacker.run(("UPDATE entries SET entry = ? WHERE position = ?", bytes(entry), position))
    assert found(verified()) == (position, "entry changed")


def test_a_deleted_last_entry_is_found_for_the_stored_tree_still_counts_it(
    attacker, verified, since
):
    attacker.run(("DELETE FROM entries WHERE position = ?", ENTRIES - 1))
    assert found(verified()) == (ENTRIES - 1, "truncated")
    assert found(verified("--since", since)) == (ENTRIES - 1, "truncated")


def test_a_last_entry_deleted_from_the_tree_too_is_found_only_against_a_checkpoint(
    attacker, verified, since
):
    """Without ``--since`` what is left is a consistent, shorter record, and passes as one."""
    attacker.rewrite(attacker.entries()[:-1])
    alone = verified()
    assert (alone["ok"], alone["entries"]) == (True, ENTRIES - 1)
    document = verified("--since", since)
    assert found(document) == (ENTRIES - 1, "truncated")
    assert f"counts {ENTRIES} entries, {ENTRIES - 1} are left" in document["first_bad"]["detail"]


@pytest.mark.parametrize("columns", ["entry", "entry, leaf_hash, root"])
def test_two_swapped_entries_are_found_and_both_positions_named(attacker, verified, columns):
    swap = (
        f"UPDATE entries SET ({columns}) = (SELECT {columns} FROM before"
        " WHERE before.position = 5 - entries.position) WHERE position IN (2, 3)"
    )
    attacker.run(("CREATE TABLE before AS SELECT * FROM entries",), (swap,))
    document = verified()
    assert found(document) == (2, "entries swapped")
    assert document["first_bad"]["detail"] == "the entry that belongs here is at position 3"


def test_an_entry_rewritten_with_all_hashes_after_it_is_found_only_against_a_checkpoint(
    attacker, verified, since
):
    """The first night's finish tells another time; without ``--since`` it passes."""
    entries = attacker.entries()
    document = json.loads(entries[5])
    assert document["kind"] == "run_finished"
    document["recorded_at"] = "2001" + document["recorded_at"][4:]
    entries[5] = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    attacker.rewrite(entries)
    assert verified()["ok"] is True
    against = verified("--since", since)
    assert found(against) == (None, "rewritten before checkpoint")
    assert "an entry from position 0 to 5 is not" in against["first_bad"]["detail"]


def test_a_rewriting_after_the_first_checkpoint_is_narrowed_down_to_after_it(
    attacker, verified, since
):
    entries = attacker.entries()
    entries[8] = entries[8].replace(b'"recorded_at":"2', b'"recorded_at":"1')
    attacker.rewrite(entries)
    assert verified()["ok"] is True
    detail = verified("--since", since)["first_bad"]["detail"]
    assert f"an entry from position 6 to {ENTRIES - 1} is not" in detail


@pytest.mark.parametrize("at", [5, 0.5, -5])
def test_a_flipped_byte_in_a_segment_file_is_found_at_its_entry(
    record, attacker, verified, two_nights, at
):
    file = f"runs/{two_nights.second['run_id']}/bucket=002/decisions.parquet"
    data = bytearray((record / file).read_bytes())
    data[int(at * len(data)) if isinstance(at, float) else at] ^= 1
    (record / file).write_bytes(data)
    position = segment_position(attacker, file)
    assert found(verified()) == (position, "segment file changed")
    assert position == 9


def test_a_deleted_segment_file_is_found_at_its_entry(record, attacker, verified, two_nights):
    file = f"runs/{two_nights.first['run_id']}/bucket=003/decisions.parquet"
    (record / file).unlink()
    document = verified()
    assert found(document) == (segment_position(attacker, file), "segment file missing")
    assert file in document["first_bad"]["detail"]


def test_the_segment_of_another_bucket_in_place_of_one_is_found(
    record, attacker, verified, two_nights
):
    folder = record / "runs" / two_nights.first["run_id"]
    shutil.copy(folder / "bucket=000/decisions.parquet", folder / "bucket=001/decisions.parquet")
    assert found(verified()) == (2, "segment file changed")


def test_a_folder_without_a_ledger_is_refused(cli, tmp_path):
    ran = cli("ledger", "verify", "--lake", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    [line] = ran.err.splitlines()
    assert "there is no ledger" in line


def test_missing_checkpoints_are_refused_and_not_passed(cli, record, tmp_path):
    ran = cli("ledger", "verify", "--lake", record, "--since", tmp_path / "none")
    assert (ran.code, ran.out) == (2, "")
    [line] = ran.err.splitlines()
    assert str(tmp_path / "none") in line


# --- prove and export -----------------------------------------------------------------------------


def test_every_entry_is_proved_to_be_under_the_signed_root(cli, record):
    signed = json.loads((record / "ledger.checkpoints").read_text().splitlines()[-1])
    for position in range(ENTRIES):
        ran = cli("ledger", "prove", position, "--lake", record, "--json")
        assert ran.code == 0
        proof = ran.document
        assert leads_to_root(proof)
        assert (proof["position"], proof["size"]) == (position, ENTRIES)
        assert (proof["root"], proof["size"]) == (signed["root"], signed["size"])
        assert json.loads(cli("ledger", "prove", position, "--lake", record).out) == proof


def test_a_proof_of_something_else_does_not_lead_to_the_root(cli, record):
    proof = cli("ledger", "prove", 4, "--lake", record, "--json").document
    assert not leads_to_root({**proof, "entry": proof["entry"].replace('"bucket":3', '"bucket":4')})
    assert not leads_to_root({**proof, "position": 5})
    assert not leads_to_root({**proof, "proof": proof["proof"][:-1]})
    assert not leads_to_root({**proof, "proof": proof["proof"][::-1]})


@pytest.mark.parametrize("position", [ENTRIES, -1, "x"])
def test_a_position_that_does_not_exist_is_refused_in_one_line(cli, record, position):
    ran = cli("ledger", "prove", position, "--lake", record)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1


def test_an_entry_that_no_longer_leads_to_the_root_is_not_proved(cli, record, attacker):
    entry = attacker.entries()[3].replace(b'"bucket":2', b'"bucket":7')
    attacker.run(("UPDATE entries SET entry = ? WHERE position = 3", entry))
    ran = cli("ledger", "prove", 3, "--lake", record)
    assert (ran.code, ran.out) == (2, "")
    assert "position 3 does not lead to the root" in ran.err


def test_the_export_is_one_json_line_an_entry_in_order(cli, record, attacker, two_nights):
    ran = cli("ledger", "export", "--lake", record)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line.encode() for line in lines] == attacker.entries()
    documents = [json.loads(line) for line in lines]
    night = ["run_started", *["segment"] * 4, "run_finished"]
    assert [d["kind"] for d in documents] == night * 2
    assert [d["body"]["run_id"] for d in documents[::6]] == [
        two_nights.first["run_id"],
        two_nights.second["run_id"],
    ]
    ids = [d["entry_id"] for d in documents]
    assert ids == sorted(set(ids))
    assert ran.err == f"{ENTRIES} entries\n"
    as_json = cli("ledger", "export", "--lake", record, "--json")
    assert as_json.document == {"entries": documents}


def test_whoever_holds_the_export_can_rebuild_the_signed_root(cli, record):
    lines = cli("ledger", "export", "--lake", record).out.encode().splitlines()
    checkpoints = (record / "ledger.checkpoints").read_text().splitlines()
    assert [json.loads(c)["size"] for c in checkpoints] == [6, ENTRIES]
    for checkpoint in map(json.loads, checkpoints):
        assert tree_head(lines[: checkpoint["size"]]).hex() == checkpoint["root"]


def test_a_segments_entry_holds_the_root_over_its_decisions_and_its_files_hash(cli, record):
    for line in cli("ledger", "export", "--lake", record).out.splitlines():
        entry = json.loads(line)
        if entry["kind"] == "segment":
            file = record / Path(entry["body"]["file"])
            sql = "SELECT decision_sha256 FROM read_parquet(?)"
            hashes = [row[0] for row in duckdb.connect().execute(sql, [str(file)]).fetchall()]
            assert entry["body"]["rows"] == len(hashes)
            assert entry["body"]["decisions_root"] == tree_head(hashes).hex()
            assert entry["body"]["file_sha256"] == sha256(file.read_bytes()).hex()
