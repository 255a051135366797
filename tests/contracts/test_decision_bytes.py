"""The canonical bytes of documents, the digest of a body and the name of a decision."""

import hashlib
import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.canonical import DEEPEST_NESTING, canonical_bytes
from data_contracts.decision import Decision, body_sha256, decision_id
from data_contracts.errors import InputError

INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        st.one_of(st.none(), st.booleans(), INTEGERS, TEXT),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=20,
    ),
    max_size=6,
)


@given(DOCUMENTS)
def test_the_digest_of_a_body_is_the_hash_of_its_canonical_bytes(body):
    assert body_sha256(body) == hashlib.sha256(canonical_bytes(body)).digest()
    assert Decision(body).sha256 == body_sha256(body).hex()


@given(DOCUMENTS)
def test_canonical_bytes_read_back_as_the_document_with_sorted_keys(document):
    data = canonical_bytes(document)
    assert json.loads(data) == document
    assert data == canonical_bytes(dict(reversed(list(document.items()))))


def _nested(depth: int) -> object:
    document: object = 1
    for _ in range(depth):
        document = [document]
    return document


INTEGER_RULE = "a canonical document holds integers below 2**53 only: "
KEY_RULE = "a canonical document has ASCII string keys only: "
KIND_RULE = (
    "a canonical document holds null, booleans, integers, strings, lists and dictionaries only: "
)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"a": [0, {"b": 2**53}]},
            f"{INTEGER_RULE}document.a[1].b is {2**53}; write it as a decimal string",
        ),
        ({"a": {1: 2}}, f"{KEY_RULE}document.a has the key 1; rename it"),
        ({"é": 1}, f"{KEY_RULE}document has the key 'é'; rename it"),
        (
            {"pd": [0.5]},
            f"{KIND_RULE}document.pd[0] is 0.5 (float); quantise it to an integer or write it as"
            " a string",
        ),
        (
            {"a": {1}},
            f"{KIND_RULE}document.a is {{1}} (set); quantise it to an integer or write it as"
            " a string",
        ),
        (
            _nested(DEEPEST_NESTING + 1),
            f"a canonical document nests at most {DEEPEST_NESTING} deep:"
            f" document{'[0]' * DEEPEST_NESTING} is deeper; flatten it",
        ),
    ],
)
def test_what_is_not_canonical_is_refused_with_its_path(document, message):
    with pytest.raises(InputError) as refused:
        canonical_bytes(document)
    assert str(refused.value) == message


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(InputError) as refused:
        canonical_bytes({"a": "\ud800"})
    assert str(refused.value) == (
        "a canonical document holds valid Unicode only: str is not valid UTF-8: surrogates not"
        " allowed; remove lone surrogates"
    )


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1])
def test_the_largest_exact_integers_are_accepted(value):
    assert canonical_bytes([value]) == f"[{value}]".encode()


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**64, -(2**70)])
def test_an_integer_that_a_double_may_round_is_refused(value):
    with pytest.raises(InputError, match=re.escape(f"document[0] is {value};")):
        canonical_bytes([value])


def test_the_deepest_allowed_document_is_accepted():
    assert canonical_bytes(_nested(DEEPEST_NESTING)).count(b"[") == DEEPEST_NESTING


@given(st.text(max_size=20), st.text(max_size=20), st.dates())
def test_a_decision_id_is_a_version_8_uuid_and_always_the_same(key, client, day):
    try:
        "".join((key, client)).encode()
    except UnicodeEncodeError:
        return
    made = decision_id(key, client, day.isoformat())
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert decision_id(key, client, day.isoformat()) == made


def test_decisions_on_other_clients_sessions_or_runs_have_other_ids():
    asked = [("r", "c", "2015-06-12"), ("r", "c", "2015-06-15"), ("r", "d", "2015-06-12")]
    asked += [("rc", "", "2015-06-12"), ("s", "c", "2015-06-12")]
    assert len({decision_id(*names) for names in asked}) == len(asked)
