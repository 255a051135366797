"""The scorer as an API of BentoML, and as it is mounted in the service's own app.

Rows of quantised features in, score, PD and attributions out; nothing is kept.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import bentoml
import numpy as np
from bentoml.exceptions import BentoMLException
from pydantic import Field

from data_contracts.units import NULL, format_decimal
from models.bundle import Bundle
from serving.service.problems import ProblemError
from serving.service.tokens import bearer

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from serving.service.app import Service

BENTOML_LOG: Final = "bentoml._internal.server.http_app"
LARGEST_BATCH: Final = 512
SCORERS: Final = frozenset({"service", "validator", "risk"})
Row = list[int | None]
Rows = Annotated[list[Row], Field(min_length=1, max_length=LARGEST_BATCH)]


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


def score_call(service: Service, rows: list[Row], ctx: bentoml.Context) -> list[dict[str, Any]]:
    """Score for a caller whose token allows it, with the bundle in force."""
    try:
        verifier = service.edge.verifier
        if verifier is None:
            raise ProblemError("not_ready", "the service is starting", headers={"retry-after": "1"})
        token = bearer(ctx.request.headers.get("authorization"))
        caller = verifier.remembered(token) or verifier.check(token)
        caller.require(SCORERS)
        return score_rows(service.engine.world.bundle, rows)
    except ProblemError as problem:
        raise _refused(problem) from None


class _WithoutInputs(logging.Filter):
    """Leaves of an exception its kind: its text repeats what a refused body held."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            kind = record.exc_info[0]
            record.msg = f"{record.msg}: {kind.__name__ if kind else 'unknown'}"
            record.exc_info = None
        return True


def keep_inputs_out_of_logs() -> None:
    """BentoML logs refused bodies; features are personal data and belong into no log."""
    log = logging.getLogger(BENTOML_LOG)
    if not any(isinstance(f, _WithoutInputs) for f in log.filters):
        log.addFilter(_WithoutInputs())


def scorer_app(service: Service) -> Starlette:
    """The scorer alone as a BentoML service, on a service that runs already; an ASGI app."""

    @bentoml.service(name="gearline_scorer", metrics={"enabled": False}, traffic={"timeout": 30})
    class GearlineScorer:
        """The scorer of the bundle in force."""

        @bentoml.api(route="/score")  # type: ignore[untyped-decorator]
        def score(self, rows: Rows, ctx: bentoml.Context) -> list[dict[str, Any]]:
            """Score rows of quantised features with the bundle in force; nothing is kept."""
            return score_call(service, rows, ctx)

    keep_inputs_out_of_logs()
    app: Starlette = GearlineScorer.to_asgi()  # type: ignore[attr-defined]
    return app
