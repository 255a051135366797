"""The rival of ``bench serve`` is what it is said to be: its parts sum to its boosters' answer."""

import os
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

pytest.importorskip("bentoml")
ROWS, WIDTH = 400, 5


@pytest.mark.filterwarnings("ignore:LightGBM binary classifier with TreeExplainer:UserWarning")
def test_the_usual_stacks_probability_is_that_of_its_bags_and_its_parts_explain_it(
    tmp_path, monkeypatch
):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, WIDTH))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=ROWS) > 0).astype(float)
    files = []
    for bag in range(2):
        parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": bag}
        parameters |= {"bagging_fraction": 0.7, "bagging_freq": 1, "num_leaves": 31}
        booster = lgb.train(parameters, lgb.Dataset(x, y), num_boost_round=20)
        files.append(str(tmp_path / f"{bag}.txt"))
        booster.save_model(files[-1])
    monkeypatch.setenv("GEARLINE_BENCH_MODEL", os.pathsep.join(files))
    from training.bench.serve.usual_service import Usual

    service: Any = Usual
    usual = service.inner()
    raw = np.mean([lgb.Booster(model_file=f).predict(x[:5], raw_score=True) for f in files], axis=0)
    for row, log_odds in zip(x[:5].tolist(), raw, strict=True):
        answer = usual.decide(row)
        assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-log_odds)), rel=1e-9)
        assert len(answer["attributions"]) == WIDTH
    missing = usual.decide([None] * WIDTH)
    assert 0 < missing["probability"] < 1
