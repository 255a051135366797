"""``bentoml serve`` and ``gearline serve`` answer the same bytes; BentoML scores too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from serving.service.tokens import mint
from tests.service.lake import PLAIN, make_lake
from tests.service.test_durability import free_port

pytest.importorskip("bentoml")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90


def started(command, env, port, path):
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=ROOT,
    )
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        assert process.poll() is None
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}{path}", verify=False).status_code == 200:
                return process
        time.sleep(0.1)
    raise AssertionError(f"{command} did not start")


def stopped(process):
    os.killpg(process.pid, signal.SIGINT)
    process.wait(PATIENCE_S)


@pytest.mark.long
def test_both_servers_answer_the_same_bytes_and_bentoml_scores_too(tmp_path):
    lake = tmp_path / "lake"
    make_lake(lake)
    (lake / "demo.json").write_text("{}")
    port, answers = free_port(), {}
    token = mint(lake, "service", "somebody", 1, time.time(), "gearline")
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "one"}
    url = f"http://127.0.0.1:{port}"
    body = {"client_id": PLAIN[0], "currency": "USD", "requested_debt_amt": "10.00"}
    env = {"GEARLINE_LAKE": str(lake), "BENTOML_HOME": str(tmp_path / "bentoml")}
    servers = {
        "gearline": ["gearline", "serve", "--lake", str(lake), "--port", str(port)],
        "bentoml": [
            "bentoml", "serve", "serving.service.bento:Gearline", "--host", "127.0.0.1",
            "--port", str(port),
        ],
    }  # fmt: skip
    for name, command in servers.items():
        process = started(command, env, port, "/v1/openapi.json")
        try:
            made = httpx.post(f"{url}/v1/decisions", json=body, headers=headers)
            assert made.status_code == 201
            answers[name] = [
                made.content,
                httpx.get(url + made.headers["location"], headers=headers).content,
                httpx.get(f"{url}/v1/policy", headers=headers).content,
                httpx.get(f"{url}/v1/models", headers=headers).content,
                httpx.get(f"{url}/v1/openapi.json").content,
                httpx.post(f"{url}/v1/decisions", json={}, headers=headers).content,
                httpx.get(f"{url}/v1/policy").content,
            ]
            rows = {"rows": [[12, 30, 1, 0], [None, None, None, None]]}
            scored = httpx.post(f"{url}/score", json=rows, headers=headers)
            assert scored.status_code == 200, name
            for row in scored.json():
                assert row["base"] + sum(row["attributions"]) == row["score"]
            unsigned = httpx.post(f"{url}/score", json=rows)
            assert unsigned.status_code == 401
            short = httpx.post(f"{url}/score", json={"rows": [[1]]}, headers=headers)
            assert short.status_code == 422
            answers[name] += [scored.content, unsigned.content, short.content]
        finally:
            stopped(process)
    for one, other in zip(answers["gearline"], answers["bentoml"], strict=True):
        assert one == other


@pytest.mark.long
def test_bentoml_builds_the_service(tmp_path):
    env = {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    ran = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "gearline:" in ran.stdout


def test_what_the_mounted_scorer_refuses_is_not_in_the_log(serve, caplog):
    service = serve()
    refused = service.call("POST", "/score", json={"rows": [["secret-feature"]]})
    assert refused.status_code == 400
    assert "Exception on /score" in caplog.text
    assert "secret-feature" not in caplog.text
    assert service.call("POST", "/score", "reviewer", json={"rows": [[1]]}).status_code == 403
