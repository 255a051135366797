"""Any change to a sealed segment is found, and named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from serving.ledger import (
    Ledger,
    read_entries,
    verify,
)
from tests.ledger.conftest import Attacker
from tests.ledger.ten_entries import ENTRIES, decision_hashes, found, write_segment


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
