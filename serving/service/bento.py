"""The same service for users of BentoML: ``bentoml serve serving.service.bento:Gearline``.

The ASGI app is mounted whole, so every route under ``/v1`` answers the same bytes as under
``gearline serve``. Beside it the scorer is a BentoML API of its own: rows of quantised features in,
log-odds, PD and attributions out. Settings come from the environment, read here once:
``GEARLINE_LAKE``, ``GEARLINE_LEDGER``, ``GEARLINE_ISSUER``, ``GEARLINE_JWKS``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from serving.commands.service import demo_clock, is_demo, release_demo_model
from serving.ledger import Location
from serving.service.app import create_app
from serving.service.scoring import Rows, keep_inputs_out_of_logs, score_call
from serving.service.settings import Settings, utc_now

LAKE = "out/demo"


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


@bentoml.service(name="gearline", metrics={"enabled": False}, traffic={"timeout": 30})
class Gearline:
    """The decision service, and its scorer as an API of BentoML."""

    def __init__(self) -> None:
        if APP is None or SETTINGS is None:
            raise RuntimeError("set GEARLINE_LAKE to the data folder that is to be served")
        self.service = APP.state.service
        keep_inputs_out_of_logs()
        self.service.start()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Finish what was asked for."""
        self.service.stop()

    @bentoml.api(route="/score")
    def score(
        self,
        rows: Rows,
        ctx: bentoml.Context,
    ) -> list[dict[str, Any]]:
        """Score rows of quantised features with the bundle in force; nothing is kept."""
        return score_call(self.service, rows, ctx)


if APP is not None:
    bentoml.asgi_app(APP, path="/", name="gearline_app")(Gearline)
