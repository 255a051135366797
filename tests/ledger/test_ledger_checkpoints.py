"""A checkpoint is signed, tells a truncated or rewritten ledger, and is never passed over."""

from pathlib import Path

import orjson
import pytest

from data_contracts.errors import InputError
from serving.ledger import (
    Ledger,
    Location,
    verify,
)
from serving.ledger.checkpoint import Checkpoint
from tests.ledger.conftest import Attacker
from tests.ledger.ten_entries import found


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
