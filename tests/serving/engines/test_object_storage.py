"""A lake in object storage: one night, byte for byte that of the same lake on a disk."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from serving.ledger import read_entries
from tests.serving.engines.nights import ROOT, files_of, reprice


@pytest.fixture(scope="module")
def s3():
    """moto's server with an empty bucket, and the query that Arrow needs to reach it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys
    )
    client.create_bucket(Bucket="book")
    yield client, f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()


def test_a_lake_in_object_storage_gives_the_same_segments(made, unbroken, s3, tmp_path):
    client, query = s3
    for path in sorted(made[0].rglob("*")):
        if path.is_file():
            client.upload_file(str(path), "book", f"lake/{path.relative_to(made[0])}")
    where = f"s3://test:test@book/lake{query}"
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    ledger = tmp_path / "ledger.sqlite"
    night = reprice(where, made[1][0], "--ledger", ledger, "--threads", 2, env=env)
    whole, document = unbroken
    assert night["decisions_sha256"] == document["decisions_sha256"]
    prefix = f"lake/runs/{document['run_id']}/"
    stored = {}
    for item in client.list_objects_v2(Bucket="book", Prefix=prefix)["Contents"]:
        if item["Key"].endswith("/"):
            continue  # what Arrow leaves so that an emptied folder is still one
        body = client.get_object(Bucket="book", Key=item["Key"])["Body"].read()
        stored[item["Key"].removeprefix(prefix)] = hashlib.sha256(body).hexdigest()
    assert stored == files_of(whole / "runs" / document["run_id"])
    ours, theirs = (
        [(e.kind, e.body) for e in read_entries(x)] for x in (ledger, whole / "ledger.sqlite")
    )
    assert ours == theirs
    again = reprice(where, made[1][0], "--ledger", ledger, env=env)
    assert again["repeated"] is True


def test_object_storage_without_a_named_ledger_is_refused(s3):
    done = subprocess.run(
        [sys.executable, "-m", "gearline", "reprice", f"s3://test:test@book/lake{s3[1]}",
         "--as-of", "2023-06-28"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "name one with --ledger" in done.stderr or "is not a lake" in done.stderr
