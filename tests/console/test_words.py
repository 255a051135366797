"""Every word in both languages, none missing, none left untranslated."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from data_contracts.case import AML_LEVELS
from data_contracts.decision import OUTCOMES
from features.sets import APPLICATION, BEHAVIOURAL
from models.decide.facts import BOUND_CODES, LINE_NAMES
from models.decide.gates import GATES
from models.governance import DIRECTIONS, KINDS, STATES
from models.margin.cap import CAP_TERMS
from models.policy.pack import LEVELS
from models.price.rate import RATE_COMPONENTS
from models.reasons.catalogue import AUDIENCES
from serving.console.access import SCREENS
from serving.console.texts import WORDS, Words
from serving.ledger.findings import Finding
from serving.review import RESOLUTIONS
from serving.review import STATES as CASE_STATES
from serving.service.problems import CODES
from serving.service.tokens import ROLES

FOLDER = Path(str(resources.files("serving.console")))
SAME_IN_BOTH = frozenset({"list.separator", "word.colon"})
FOREIGN_IN_CHINESE = re.compile(r"(?i)gearline|kyc|ctrl|enter|pd|{[a-z_]+}|[a-z]\d|\bD\b")
SOURCES = sorted([*FOLDER.rglob("*.j2"), *FOLDER.rglob("*.py")])


def holes(text: str) -> list[str]:
    return sorted(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("key", sorted(WORDS))
def test_a_key_has_words_in_both_languages_with_the_same_places(key: str) -> None:
    en, zh = WORDS[key]
    assert bool(en) == bool(zh)
    assert holes(en) == holes(zh)
    if not en or key in SAME_IN_BOTH:
        return
    assert not re.search(r"[一-鿿]", en), "Chinese in the English words"
    rest = FOREIGN_IN_CHINESE.sub("", zh)
    assert not re.search(r"[A-Za-z]{2,}", rest), "English in the Chinese words"
    told_by_values_alone = not re.sub(r"{\w+}|[^A-Za-z]", "", en)
    assert told_by_values_alone or re.search(r"[一-鿿]", zh) or len(en) <= 3


def test_every_key_that_a_page_names_is_in_the_catalogue() -> None:
    named = {
        (path.name, key)
        for path in SOURCES
        for key in re.findall(
            r"""\b(?:t|l|words)\(\s*["']([a-z_.0-9]+[a-z_0-9])["'][,)]""",
            path.read_text(encoding="utf-8"),
        )
    }
    assert len(named) > 200
    assert sorted((p, k) for p, k in named if k not in WORDS) == []


def test_every_code_that_can_be_shown_has_words() -> None:
    units = {f.unit for s in (APPLICATION, BEHAVIOURAL) for f in s.features}
    formatted = {"1 = 100 %", "per session, 1 = 100 %"}
    wanted = [
        *(f"screen.{s.name}" for s in SCREENS),
        *(f"role.{r}" for r in ROLES),
        *(f"cap.{c}" for c in CAP_TERMS),
        *(f"cap_meaning.{c}" for c in CAP_TERMS),
        *(f"rate.{c}" for c in RATE_COMPONENTS),
        *(f"rate_meaning.{c}" for c in RATE_COMPONENTS),
        *(f"line.{n}" for n in LINE_NAMES),
        *(f"line_meaning.{n}" for n in LINE_NAMES),
        *(f"outcome.{o}" for o in OUTCOMES),
        *(f"letter.{o}" for o in OUTCOMES),
        *(f"audience.{a}" for a in AUDIENCES),
        *(f"aml.{a}" for a in AML_LEVELS),
        *(f"level.{v}" for v in LEVELS),
        *(f"proposal_kind.{k}" for k in KINDS),
        *(f"direction.{d}" for d in DIRECTIONS),
        *(f"candidate.direction.{d}" for d in DIRECTIONS),
        *(f"proposal_state.{s}" for s in STATES),
        *(f"case_state.{s}" for s in CASE_STATES),
        *(f"resolution.{r}" for r in RESOLUTIONS),
        *(f"rule.{g}" for g in GATES if g not in ("gate_sanctioned", "gate_aml", "gate_pep")),
        *(f"rule.{b}" for b in BOUND_CODES if b != "bound_house_ratio"),
        *(f"problem.{c}" for c in CODES),
        *(f"problem_hint.{c}" for c in CODES),
        *(f"finding.{f.value}" for f in Finding),
        *(f"feature_unit.{u}" for u in units - formatted),
    ]
    assert [key for key in wanted if key not in WORDS] == []


def test_an_unknown_key_is_refused_and_a_later_code_is_shown_as_it_is() -> None:
    with pytest.raises(Exception, match=r"has no words 'no\.such'"):
        Words("en")("no.such")
    assert Words("zh").term("entry", "of_tomorrow") == "of_tomorrow"
