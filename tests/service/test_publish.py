"""Publishing a night: whole, once, the batch's own rows and limits, drift on record."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import InputError
from features.online import Snapshot
from serving.ledger import Ledger, LedgerReader
from serving.nightly.publishing.flow import publish_first, publish_run
from serving.nightly.publishing.history import find_run
from serving.publish import CaseStore, current_run, record_drift
from tests.service.lake import NOW, PLAIN, STATUSES, add_night, make_lake


def drift_entries(where):
    with LedgerReader(where) as reader:
        return [e.body for e in reversed(reader.latest("kind/drift_measured", 10))]


def test_what_is_published_is_what_the_night_sealed(tmp_path):
    lake = tmp_path / "lake"
    where = make_lake(lake, values={"c03": (25, 4, 2, 1)})
    assert publish_first(lake, where) == current_run(lake) == "night-1"
    sealed = pq.read_table(lake / "runs/night-1/bucket=000/decisions.parquet", partitioning=None)
    folder = lake / "online" / "night-1"
    features = Snapshot.open(folder / "features.sqlite")
    with CaseStore(folder / "cases.sqlite") as cases:
        assert cases.clients(1000) == sorted([*PLAIN, *STATUSES])
        for client, decision, amount in zip(
            *(sealed[c].to_pylist() for c in ("client_id", "decision_id", "max_debt_amt")),
            strict=True,
        ):
            found = cases.read(client)
            assert found is not None
            assert (found.decision_id, found.max_debt_amt) == (decision, str(amount))
            assert found.case.client_id == client
        assert cases.read("nobody") is None
    assert np.array_equal(features.read("c03", NOW), [25, 4, 2, 1])
    features.close()


def test_publishing_again_changes_nothing(tmp_path):
    lake = tmp_path / "lake"
    where = make_lake(lake)
    publish_run(lake, where)
    files = {p: p.stat().st_mtime_ns for p in (lake / "online").glob("*/*.sqlite")}
    publish_run(lake, where)
    assert {p: p.stat().st_mtime_ns for p in (lake / "online").glob("*/*.sqlite")} == files
    assert len(drift_entries(where)) == 1


def test_drift_is_measured_from_the_bundles_first_night_to_the_last(tmp_path):
    lake = tmp_path / "lake"
    where = make_lake(lake)
    for night, values in (
        ("night-2", {}),
        ("night-3", dict.fromkeys(PLAIN, (40, 0, 3, 5))),
    ):
        with Ledger.open(where) as record:
            add_night(lake, record, night, values)
    for night in ("night-1", "night-2", "night-3"):
        with LedgerReader(where) as reader:
            run = find_run(reader, night)
        record_drift(lake, where, dict(run.started), dict(run.finished))
    first, same, shifted = (e["stability_e6"] for e in drift_entries(where))
    assert first == same == 0
    assert shifted > 250_000


def test_a_night_that_was_broken_off_while_publishing_is_published_again(tmp_path):
    lake = tmp_path / "lake"
    where = make_lake(lake)
    folder = lake / "online" / "night-1"
    folder.mkdir(parents=True)
    (folder / "cases.sqlite.tmp").write_bytes(b"half a file")
    publish_run(lake, where)
    with CaseStore(folder / "cases.sqlite") as cases:
        assert cases.read("c00") is not None


def test_without_a_finished_night_there_is_nothing_to_publish(tmp_path):
    Ledger.open(tmp_path / "ledger.sqlite", create=True).close()
    with pytest.raises(InputError, match="no night is on record yet; run `gearline reprice"):
        publish_first(tmp_path, tmp_path / "ledger.sqlite")
