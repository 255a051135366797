"""The same service for users of BentoML: ``bentoml serve serving.service.bento:Gearline``.

The ASGI app is mounted whole, so every route under ``/v1`` answers the same bytes as under
``gearline serve``. Beside it the scorer is a BentoML API of its own: rows of quantised features in,
log-odds, PD and attributions out. Settings come from the environment, read here once:
``GEARLINE_LAKE``, ``GEARLINE_LEDGER``, ``GEARLINE_ISSUER``, ``GEARLINE_JWKS``.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.exceptions import BentoMLException
from pydantic import Field

from data_contracts.units import NULL, format_decimal
from models.bundle import Bundle
from serving.commands.service import demo_clock, is_demo, release_demo_model
from serving.ledger import Location
from serving.service.app import create_app
from serving.service.problems import ProblemError
from serving.service.settings import Settings, utc_now
from serving.service.tokens import bearer

LARGEST_BATCH = 512
LAKE = "out/demo"
SCORERS = frozenset({"service", "validator", "risk"})
Row = list[int | None]


def settings_from_environment() -> Settings:
    """The settings of a service that BentoML starts."""
    lake = Path(os.environ.get("GEARLINE_LAKE", LAKE))
    ledger: Location = os.environ.get("GEARLINE_LEDGER") or lake / "ledger.sqlite"
    jwks = os.environ.get("GEARLINE_JWKS")
    now: Any = utc_now
    local = is_demo(lake) and jwks is None
    if is_demo(lake):
        now = demo_clock(lake, ledger)
        release_demo_model(lake, ledger, now().date())
    issuer = os.environ.get("GEARLINE_ISSUER")
    return Settings(lake, ledger, local_tokens=local, issuer=issuer, jwks=jwks, now=now)


SETTINGS = settings_from_environment() if os.environ.get("GEARLINE_LAKE") else None
APP = create_app(SETTINGS) if SETTINGS else None


def score_rows(bundle: Bundle, rows: list[Row]) -> list[dict[str, Any]]:
    """Score, PD and attributions of rows in feature-set order, null where undefined."""
    width = len(bundle.names)
    for k, row in enumerate(rows):
        if len(row) != width:
            raise ProblemError(
                "body_invalid",
                f"row {k} has {len(row)} values, the feature set {width}",
                pointer=f"/rows/{k}",
            )
    values = np.array([[NULL if v is None else v for v in row] for row in rows], dtype=np.int64)
    scores, attributions = bundle.head.score_and_attributions(values)
    pd, low, high = bundle.calibration.of_score(scores)
    return [
        {
            "score": int(scores[k]),
            "pd": format_decimal(int(pd[k]), 9),
            "pd_low": format_decimal(int(low[k]), 9),
            "pd_high": format_decimal(int(high[k]), 9),
            "base": bundle.head.base_attribution,
            "attributions": attributions[k].tolist(),
        }
        for k in range(len(rows))
    ]


def _refused(problem: ProblemError) -> BentoMLException:
    """The problem in BentoML's own form, with the same status and words."""
    status = HTTPStatus(problem.status)
    return BentoMLException(f"{problem.code}: {problem.detail}", error_code=status)


@bentoml.service(name="gearline", metrics={"enabled": False}, traffic={"timeout": 30})
class Gearline:
    """The decision service, and its scorer as an API of BentoML."""

    def __init__(self) -> None:
        if APP is None or SETTINGS is None:
            raise RuntimeError("set GEARLINE_LAKE to the data folder that is to be served")
        self.service = APP.state.service
        self.service.start()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Finish what was asked for."""
        self.service.stop()

    @bentoml.api(route="/score")
    def score(
        self,
        rows: Annotated[list[Row], Field(min_length=1, max_length=LARGEST_BATCH)],
        ctx: bentoml.Context,
    ) -> list[dict[str, Any]]:
        """Score rows of quantised features with the bundle in force; nothing is kept."""
        try:
            token = bearer(ctx.request.headers.get("authorization"))
            verifier = self.service.edge.verifier
            caller = verifier.remembered(token) or verifier.check(token)
            caller.require(SCORERS)
            return score_rows(self.service.engine.world.bundle, rows)
        except ProblemError as problem:
            raise _refused(problem) from None


if APP is not None:
    bentoml.asgi_app(APP, path="/", name="gearline_app")(Gearline)
