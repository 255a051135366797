"""The one canonical byte form of a document, and its hash.

A canonical document holds null, booleans, integers below 2**53 in magnitude, strings, lists and
dictionaries with ASCII string keys; no floats. For such documents JSON with sorted keys is
RFC 8785, so the bytes, and hashes over them, are the same in every language.
"""

import hashlib
from collections.abc import Iterable

import orjson

from data_contracts.errors import InputError

# Above 2**53 - 1 a reader that holds numbers as doubles (RFC 8785, section 3.2.2.3) rounds.
LARGEST_INTEGER = 2**53 - 1
# Far above any document of ours, far below the recursion limits of the JSON readers.
DEEPEST_NESTING = 100


def canonical_bytes(document: object) -> bytes:
    """Return the canonical bytes of ``document``.

    >>> canonical_bytes({"b": [1, True, None], "a": "x"})
    b'{"a":"x","b":[1,true,null]}'
    """
    if not _is_canonical(document, 0):
        _refuse_non_canonical(document, "document", 0)
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except TypeError as error:
        _refuse_non_canonical(document, "document", 0)  # names an integer that is too large
        raise InputError(  # lone surrogates: the one thing the walk does not look at
            f"a canonical document holds valid Unicode only: {error}; remove lone surrogates"
        ) from error


def bytes_of_typed(document: object) -> bytes:
    """The same bytes for a document whose writer gives only such types, by construction.

    The walk over types and keys is left out; integers and Unicode are still checked.
    """
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except TypeError:
        return canonical_bytes(document)  # says what is wrong


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 lower-case hexadecimal digits.

    >>> sha256_hex(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


_LEAVES = frozenset({str, bool, int, type(None)})
_CONTAINERS = frozenset({dict, list, tuple})


def _is_canonical(value: object, depth: int) -> bool:
    """Whether types, keys and depth are allowed: the walk below by whole lists, without paths."""
    if type(value) in _LEAVES:
        return True
    if depth >= DEEPEST_NESTING:
        return False
    items: Iterable[object]
    if isinstance(value, dict) and type(value) is dict:
        if not set(map(type, value)) <= {str} or not "".join(value).isascii():
            return False
        items = value.values()
    elif isinstance(value, (list, tuple)) and type(value) in _CONTAINERS:
        items = value
    else:
        return False
    kinds = set(map(type, items)) - _LEAVES
    if not kinds:
        return True
    return kinds <= _CONTAINERS and all(
        _is_canonical(item, depth + 1) for item in items if type(item) not in _LEAVES
    )


def _refuse_non_canonical(value: object, where: str, depth: int) -> None:
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return
    if kind is int:
        assert isinstance(value, int)
        if abs(value) > LARGEST_INTEGER:
            raise InputError(
                f"a canonical document holds integers below 2**53 only: {where} is {value}; "
                "write it as a decimal string"
            )
        return
    if depth >= DEEPEST_NESTING:
        raise InputError(
            f"a canonical document nests at most {DEEPEST_NESTING} deep: {where} is deeper; "
            "flatten it"
        )
    if isinstance(value, dict) and kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise InputError(
                    f"a canonical document has ASCII string keys only: {where} has the key "
                    f"{key!r}; rename it"
                )
            _refuse_non_canonical(item, f"{where}.{key}", depth + 1)
        return
    if isinstance(value, (list, tuple)) and kind in (list, tuple):
        for index, item in enumerate(value):
            _refuse_non_canonical(item, f"{where}[{index}]", depth + 1)
        return
    raise InputError(
        f"a canonical document holds null, booleans, integers, strings, lists and dictionaries "
        f"only: {where} is {value!r} ({kind.__name__}); quantise it to an integer or write it as "
        "a string"
    )
