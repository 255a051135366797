"""Green, amber, red or not tested: a night's monitors. Pure: figures and house values in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.units import parse_decimal
from models.gate.judge import NOT_TESTED, Measured, shown
from models.policy.document import read_yaml

LIGHTS: Final = ("green", "amber", "red")


@dataclass(frozen=True)
class Monitor:
    """What is watched: from ``amber`` it is amber, from ``red`` red; 1e-6 for a ratio."""

    name: str
    unit: str
    amber: int
    red: int
    fails_closed: bool
    reference: str
    en: str
    zh: str

    def __post_init__(self) -> None:
        if self.amber > self.red:
            raise InputError(f"monitor {self.name}: amber {self.amber} is above red {self.red}")


@dataclass(frozen=True)
class Light:
    """One monitor's light; ``of`` names the feature where there is one a feature."""

    monitor: Monitor
    measured: Measured
    status: str
    of: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The light with its value and where it turns."""
        m = self.monitor
        return {
            "monitor": m.name,
            "of": self.of,
            "status": self.status,
            "value": shown(self.measured.value, m.unit),
            "amber_from": shown(m.amber, m.unit),
            "red_from": shown(m.red, m.unit),
            "fails_closed": m.fails_closed,
            "detail": self.measured.detail,
            "en": m.en,
            "zh": m.zh,
            "reference": m.reference,
        }


@lru_cache(maxsize=1)
def load_monitors() -> Mapping[str, Monitor]:
    """House monitors 1."""
    text = (resources.files("models.gate") / "monitors.yaml").read_text(encoding="utf-8")
    made = {}
    for name, body in read_yaml(text, "monitors.yaml").items():
        levels = {
            k: parse_decimal(body[k], 6, f"monitor {name}") if body["unit"] == "ratio" else body[k]
            for k in ("amber", "red")
        }
        made[name] = Monitor(name, **{**body, **levels})
    return made


def light(monitor: Monitor, measured: Measured, of: str | None = None) -> Light:
    """Which light a figure gives; none gives ``not_tested``, never green."""
    value = measured.value
    if value is None:
        return Light(monitor, measured, NOT_TESTED, of)
    status = "red" if value >= monitor.red else "amber" if value >= monitor.amber else "green"
    return Light(monitor, measured, status, of)


def worst(lights: Iterable[Light]) -> str:
    """The worst light that was tested; ``not_tested`` where none was."""
    tested = [LIGHTS.index(x.status) for x in lights if x.status != NOT_TESTED]
    return LIGHTS[max(tested)] if tested else NOT_TESTED


def closing(lights: Iterable[Light]) -> tuple[str, ...]:
    """Names of the red monitors that fail closed."""
    return tuple(
        sorted({x.monitor.name for x in lights if x.status == "red" and x.monitor.fails_closed})
    )
