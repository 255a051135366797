"""Compiled loops of a decision's written form: its largest factors, and its canonical bytes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.units import IntArray
from models.compiled import compiled

ByteArray = npt.NDArray[np.uint8]

(
    LITERAL, INTEGER, AMOUNT, PERCENT, TEXT, CHOICE, HEX, UUID, LIST, UNLESS, SEPARATOR, RESTART,
    COUNT, RATIO,
) = range(14)  # fmt: skip
"""What a written form is made of; ``models.decide.written`` says what each writes."""
LONGEST_NUMBER: Final = 24


@compiled
def largest_factors(
    attributions: IntArray, family_of: IntArray, families: int, most: int
) -> tuple[IntArray, IntArray, IntArray]:
    """The families with the largest positive sums, largest first, equal ones in order of name.

    Returns family and largest feature, shape (N, most), -1 for none, and the sums.
    """
    n, features = attributions.shape
    family = np.full((n, most), -1, dtype=np.int64)
    feature = np.full((n, most), -1, dtype=np.int64)
    total = np.zeros((n, most), dtype=np.int64)
    sums = np.zeros(families, dtype=np.int64)
    best = np.zeros(families, dtype=np.int64)
    for i in range(n):
        for f in range(families):
            sums[f] = 0
            best[f] = -1
        for k in range(features):
            f = family_of[k]
            v = attributions[i, k]
            sums[f] += v
            if best[f] < 0 or v > attributions[i, best[f]]:
                best[f] = k
        for place in range(most):
            found = -1
            for f in range(families):
                if sums[f] > 0 and (found < 0 or sums[f] > sums[found]):
                    found = f
            if found < 0:
                break
            family[i, place] = found
            feature[i, place] = best[found]
            total[i, place] = sums[found]
            sums[found] = 0
    return family, feature, total


@compiled
def _write_number(value: int, places: int, digit: ByteArray, out: ByteArray, at: int) -> int:
    """Write an integer, with a point before its last ``places`` digits; returns where it ends."""
    if value < 0:
        out[at] = 45
        at += 1
    # unsigned: division by a constant is then a multiplication and no sign is looked at
    rest = np.uint64(-value) if value < 0 else np.uint64(value)
    ten, hundred, zero = np.uint64(10), np.uint64(100), np.uint64(48)
    k = 0
    # two digits a division: only the division by a hundred waits for the one before it
    while rest >= ten or k <= places:
        quotient = rest // hundred
        pair = rest - quotient * hundred
        high = pair // ten
        digit[k] = np.uint8(pair - high * ten + zero)
        digit[k + 1] = np.uint8(high + zero)
        rest = quotient
        k += 2
    if rest > np.uint64(0):
        digit[k] = np.uint8(rest + zero)
        k += 1
    # a pair may have brought one zero too many in front
    while k > places + 1 and digit[k - 1] == 48:
        k -= 1
    while k > places:
        k -= 1
        out[at] = digit[k]
        at += 1
    if places > 0:
        out[at] = 46
        at += 1
        while k > 0:
            k -= 1
            out[at] = digit[k]
            at += 1
    return at


@compiled
def write_rows(
    first: int,
    stop: int,
    code: IntArray,
    a: IntArray,
    b: IntArray,
    literals: ByteArray,
    piece: IntArray,
    values: IntArray,
    texts: ByteArray,
    text_at: IntArray,
    digests: ByteArray,
    lists: IntArray,
    out: ByteArray,
    start: IntArray,
) -> int:
    """Write rows ``first`` to ``stop`` one after the other; the length, -1 where ``out`` is full.

    ``code, a, b`` is the form; ``values`` has a row of integers a decision, ``text_at`` start and
    end of its texts, ``digests`` its bytes, ``lists`` its list of integers; ``start`` takes where
    each row begins, and the end.
    """
    null = -9223372036854775807 - 1
    digit = np.empty(LONGEST_NUMBER, dtype=np.uint8)
    at = 0
    for row in range(first, stop):
        start[row - first] = at
        comma = False
        op = 0
        while op < len(code):
            if at + 20_000 > len(out):
                return -1
            what = code[op]
            if what == LITERAL:
                size = b[op] - a[op]
                out[at : at + size] = literals[a[op] : b[op]]
                at += size
            elif what == RATIO:
                at = _write_number(values[row, a[op]], 6, digit, out, at)
            elif what in (INTEGER, AMOUNT, PERCENT, COUNT):
                value = values[row, a[op]]
                if value == null:
                    out[at] = 110
                    out[at + 1] = 117
                    out[at + 2] = 108
                    out[at + 3] = 108
                    at += 4
                else:
                    if what != INTEGER:
                        out[at] = 34
                        at += 1
                    places = 0
                    if what == AMOUNT:
                        places = 2
                    elif what == PERCENT:
                        # from 1e-6 to per cent with one place, rounded down
                        value = value // 1000
                        places = 1
                    at = _write_number(value, places, digit, out, at)
                    if what != INTEGER:
                        out[at] = 34
                        at += 1
            elif what == TEXT:
                begin, end = text_at[row, 2 * a[op]], text_at[row, 2 * a[op] + 1]
                out[at : at + end - begin] = texts[begin:end]
                at += end - begin
            elif what == CHOICE:
                p = b[op] + values[row, a[op]]
                for k in range(piece[p], piece[p + 1]):
                    out[at] = literals[k]
                    at += 1
            elif what == HEX:
                for k in range(a[op], a[op] + 32):
                    byte = digests[row, k]
                    high, low = byte >> 4, byte & 15
                    out[at] = high + (48 if high < 10 else 87)
                    out[at + 1] = low + (48 if low < 10 else 87)
                    at += 2
            elif what == UUID:
                for k in range(16):
                    if k == 4 or k == 6 or k == 8 or k == 10:
                        out[at] = 45
                        at += 1
                    byte = digests[row, a[op] + k]
                    if k == 6:
                        byte = (byte & 15) | 128
                    elif k == 8:
                        byte = (byte & 63) | 128
                    high, low = byte >> 4, byte & 15
                    out[at] = high + (48 if high < 10 else 87)
                    out[at + 1] = low + (48 if low < 10 else 87)
                    at += 2
            elif what == LIST:
                for c in range(lists.shape[1]):
                    if c > 0:
                        out[at] = 44
                        at += 1
                    at = _write_number(lists[row, c], 0, digit, out, at)
            elif what == UNLESS:
                if values[row, a[op]] == 0:
                    op += b[op]
            elif what == SEPARATOR:
                if comma:
                    out[at] = 44
                    at += 1
                comma = True
            elif what == RESTART:
                comma = False
            op += 1
    start[stop - first] = at
    return at
