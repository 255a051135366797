"""What happens in a scenario: declared as data, turned into price paths by a pure function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, FloatArray, IntArray

SESSIONS: Final = 10
MOST_SESSIONS: Final = 60


@dataclass(frozen=True)
class Scenario:
    """A market move over some sessions.

    Attributes
    ----------
    shock_ratio : return of the market over the whole path; -0.2 is a fall of a fifth, evenly in log
    volatility : multiple of each name's own volatility, as noise around its beta times the shock
    depth_ratio : share of a holding that can be sold in a session
    lock_sessions : first sessions in which nothing can be sold (limit-down locks)
    suspended_ratio : share of the names that cannot be traded at all
    sessions : length of the path
    """

    name: str
    shock_ratio: float
    volatility: float = 0.0
    depth_ratio: float = 1.0
    lock_sessions: int = 0
    suspended_ratio: float = 0.0
    sessions: int = SESSIONS

    def __post_init__(self) -> None:
        where = f"scenario {self.name!r}"
        if not -0.99 <= self.shock_ratio <= 10:
            raise InputError(f"{where}: shock_ratio is {self.shock_ratio}; it lies in -0.99 to 10")
        if not 0 <= self.volatility <= 20:
            raise InputError(f"{where}: volatility is {self.volatility}; it lies in 0 to 20")
        for name in ("depth_ratio", "suspended_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{where}: {name} is {getattr(self, name)}; it lies in 0 to 1")
        if not 1 <= self.sessions <= MOST_SESSIONS or not 0 <= self.lock_sessions <= self.sessions:
            raise InputError(
                f"{where}: {self.sessions} sessions with {self.lock_sessions} locked; at most"
                f" {MOST_SESSIONS}, and no more locked than there are"
            )

    @property
    def is_zero(self) -> bool:
        """Whether nothing happens to prices."""
        return self.shock_ratio == 0 and self.volatility == 0


SCENARIOS: Final[dict[str, Scenario]] = {
    s.name: s
    for s in (
        Scenario("zero", 0.0),
        Scenario("mild", -0.10, 1.5, 0.8),
        Scenario("normal", -0.20, 2.0, 0.6),
        Scenario("extreme", -0.30, 3.0, 0.3, lock_sessions=2, suspended_ratio=0.10),
    )
}
"""Falls of the market with thinner trade; the shares and multiples are this project's own choice."""


@dataclass(frozen=True)
class Names:
    """What a path needs to know of each name: last price (0.0001), beta, daily volatility."""

    price: IntArray
    beta: FloatArray
    volatility: FloatArray


def read_scenario(text: str) -> Scenario:
    """A scenario by name, or from a YAML file with the attributes of ``Scenario``.

    Raises
    ------
    InputError
        If there is no such name or file, or the file says something else.
    """
    if text in SCENARIOS:
        return SCENARIOS[text]
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"there is no scenario {text!r}; there are: {', '.join(SCENARIOS)}, replay:FROM:TO,"
            " monte-carlo, reverse, or a .yaml file"
        )
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return replace(Scenario(path.stem, 0.0), **document)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, TypeError) as error:
        allowed = ", ".join(Scenario.__dataclass_fields__)
        raise InputError(f"{path} is no scenario: {error}; it may say {allowed}") from None


@dataclass(frozen=True)
class PricePath:
    """Prices (sessions, names) in 0.0001, and where a sale is possible."""

    price: IntArray
    open_to_sale: IntArray


def price_path(scenario: Scenario, names: Names, seed: int) -> PricePath:
    """One path of a scenario: beta times the shock, noise at a multiple of each name's volatility.

    Noise is normal and independent by session and name; suspended names keep their price. In the
    zero scenario every price is the last one, exactly.
    """
    rng = np.random.default_rng([seed, 0x57E55])
    sessions, count = scenario.sessions, len(names.price)
    steps = np.log1p(scenario.shock_ratio) / sessions * names.beta
    noise = rng.standard_normal((sessions, count)) * names.volatility * scenario.volatility
    level = np.exp(np.cumsum(steps[None, :] + noise, axis=0))
    suspended = suspended_names(scenario, count, seed)
    level = np.where(suspended[None, :], 1.0, level)
    price = np.maximum(np.rint(names.price[None, :] * level), 1).astype(np.int64)
    price = np.where(names.price[None, :] <= 0, 0, price)
    is_open = np.ones((sessions, count), dtype=np.int64)
    is_open[: scenario.lock_sessions] = 0
    is_open[:, suspended] = 0
    return PricePath(price, is_open)


def suspended_names(scenario: Scenario, count: int, seed: int) -> BoolArray:
    """Which names cannot be traded: the same for a seed, whatever else the scenario says."""
    order = np.random.default_rng([seed, 0x5035]).permutation(count)
    out = np.zeros(count, dtype=bool)
    out[order[: round(count * scenario.suspended_ratio)]] = True
    return out
