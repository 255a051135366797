"""A proposed policy pack: only the house's own rules, kept as it was hashed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from models.policy import load_pack
from models.policy.kept import direction, keep, kept
from serving.console.candidates import changed_pack

SINCE = dt.date(2024, 3, 18)


def test_a_candidate_is_read_back_as_it_was_hashed(tmp_path: Path) -> None:
    sha256 = keep(tmp_path, *changed_pack("us", "commercial_margin_bps", "150", SINCE, "minutes 7"))
    found = kept(tmp_path, sha256)
    assert found is not None
    assert found.sha256 == sha256 != load_pack("us").sha256
    assert found.on(SINCE)["commercial_margin_bps"] == 150
    before = SINCE - dt.timedelta(days=1)
    name = "commercial_margin_bps"
    assert found.on(before)[name] == load_pack("us").on(before)[name]
    assert kept(tmp_path, "0" * 64) is None
    assert kept(tmp_path, "../../etc/passwd") is None


def test_a_candidate_that_was_changed_after_it_was_hashed_is_refused(tmp_path: Path) -> None:
    sha256 = keep(tmp_path, *changed_pack("us", "commercial_margin_bps", "150", SINCE, "minutes 7"))
    path = tmp_path / "policies" / f"{sha256}.yaml"
    text = path.read_text(encoding="utf-8")
    assert "minutes 7" in text
    path.write_text(text.replace("minutes 7", "minutes 8"), encoding="utf-8")
    with pytest.raises(InputError, match="was changed after it was proposed"):
        kept(tmp_path, sha256)


@pytest.mark.parametrize(
    ("rule", "values", "told"),
    [
        ("initial_margin_ratio", "0.10", "no rule of the house"),
        ("no_such_rule", "1", "no rule of the house"),
        ("tier_cap_ratio", "0.5", "has 7 values, not 1"),
        ("commercial_margin_bps", "1.5", "commercial_margin_bps"),
        ("tier_cap_ratio", "0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7", "never rise"),
    ],
)
def test_law_and_nonsense_are_refused(tmp_path: Path, rule: str, values: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        keep(tmp_path, *changed_pack("us", rule, values, SINCE, "minutes 7"))


def test_the_loosest_part_of_a_change_says_how_many_must_agree() -> None:
    def rows(*names: str) -> list[dict[str, object]]:
        return [{"change": n} for n in names]

    assert direction(rows("tighter", "added")) == "tightens"
    assert direction(rows("tighter", "changed")) == "neutral"
    assert direction(rows("tighter", "looser")) == "loosens"
    assert direction(rows("removed")) == "loosens"
