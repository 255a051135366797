"""Forms: the steps of a written document, and the integer columns and texts that they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from data_contracts.units import BoolArray, IntArray
from models.decide import kernel
from models.decide.cases import Texts


class Form:
    """Steps of a written form, and the columns they read."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.steps: list[tuple[int, int, int]] = []
        self.literals = bytearray()
        self.pieces: list[int] = [0]
        self.choices: list[tuple[int, Sequence[bytes]]] = []
        self.values: list[IntArray] = []
        self.texts: list[Texts] = []
        self.blocked = False

    def literal(self, text: str | bytes) -> None:
        """Constant bytes."""
        data = text.encode() if isinstance(text, str) else text
        begin = len(self.literals)
        self.literals += data
        if self.steps and self.steps[-1][0] == kernel.LITERAL and not self.blocked:
            # the constant bytes before it are its neighbours in the pool too
            begin = self.steps.pop()[1]
        self.blocked = False
        self.steps.append((kernel.LITERAL, begin, len(self.literals)))

    def _column(self, values: IntArray | BoolArray) -> int:
        self.values.append(np.asarray(values, dtype=np.int64))
        return len(self.values) - 1

    def integer(self, values: IntArray) -> None:
        """An integer, null for ``NULL``."""
        self.steps.append((kernel.INTEGER, self._column(values), 0))

    def amount(self, values: IntArray) -> None:
        """Minor units as a decimal string, null for ``NULL``."""
        self.steps.append((kernel.AMOUNT, self._column(values), 0))

    def percent(self, values: IntArray) -> None:
        """A 1e-6 ratio as a string of per cent with one place, rounded down."""
        self.steps.append((kernel.PERCENT, self._column(values), 0))

    def ratio(self, values: IntArray) -> None:
        """A 1e-6 ratio as a decimal string with six places."""
        self.literal('"')
        self.steps.append((kernel.RATIO, self._column(values), 0))
        self.literal('"')

    def count(self, values: IntArray) -> None:
        """An integer as a string."""
        self.steps.append((kernel.COUNT, self._column(values), 0))

    def text(self, texts: Texts) -> None:
        """One JSON string a row."""
        self.texts.append(texts)
        self.steps.append((kernel.TEXT, len(self.texts) - 1, 0))

    def choice(self, values: IntArray | BoolArray, pieces: Sequence[str]) -> None:
        """One of some constant texts, as JSON strings."""
        self.raw_choice(values, [orjson.dumps(p) for p in pieces])

    def raw_choice(self, values: IntArray | BoolArray, pieces: Sequence[bytes]) -> None:
        """One of some constant bytes."""
        self.choices.append((len(self.steps), pieces))
        self.steps.append((kernel.CHOICE, self._column(values), 0))

    def unless(self, holds: BoolArray) -> int:
        """The steps up to ``end`` are taken only where it holds; returns what ``end`` wants."""
        self.steps.append((kernel.UNLESS, self._column(holds), 0))
        return len(self.steps) - 1

    def end(self, begun: int) -> None:
        """Where the steps of ``unless`` end."""
        code, column, _ = self.steps[begun]
        self.steps[begun] = (code, column, len(self.steps) - 1 - begun)
        self.blocked = True

    def step(self, code: int, argument: int = 0) -> None:
        """Any other step."""
        self.steps.append((code, argument, 0))

    def assembled(self) -> dict[str, Any]:
        """The arrays that the compiled loop reads."""
        pieces: list[int] = []
        literals = bytearray(self.literals)
        steps = list(self.steps)
        for step, texts in self.choices:
            code, column, _ = steps[step]
            steps[step] = (code, column, len(pieces))
            for t in texts:
                pieces.append(len(literals))
                literals += t
            pieces.append(len(literals))
        table = np.array(steps, dtype=np.int64)
        base = np.cumsum([0, *(len(t.pool) for t in self.texts)])
        at = np.empty((self.n, 2 * len(self.texts)), dtype=np.int64)
        for k, text in enumerate(self.texts):
            at[:, 2 * k] = text.start[:-1] + base[k]
            at[:, 2 * k + 1] = text.start[1:] + base[k]
        return {
            "code": np.ascontiguousarray(table[:, 0]),
            "a": np.ascontiguousarray(table[:, 1]),
            "b": np.ascontiguousarray(table[:, 2]),
            "literals": np.frombuffer(bytes(literals), dtype=np.uint8),
            "piece": np.array(pieces, dtype=np.int64),
            "values": np.stack(self.values, axis=1),
            "texts": np.concatenate([t.pool for t in self.texts]),
            "text_at": at,
        }
