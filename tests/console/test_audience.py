"""Nobody sees a reason, a fact or a case above their audience, on any page."""

from __future__ import annotations

from typing import Any

import pytest

from models.reasons import CATALOGUE
from tests.service.conftest import Running

CLIENTS = ("sanctioned", "amlhigh", "pep")
SECRET = [
    text
    for entry in CATALOGUE.values()
    if entry.audience == "compliance"
    for text in (entry.en, entry.zh)
]
FIELDS = ("Sanctioned", "Politically exposed", "Money-laundering risk")


def addresses(client: str) -> list[str]:
    own = f"/console/clients/{client}"
    return [own, f"{own}/ways", f"{own}/changes", f"{own}/rules", f"{own}/letter?in=en",
            f"{own}/letter?in=zh", f"/console/simulator?client={client}",
            f"/console/queue?client={client}"]  # fmt: skip


@pytest.mark.parametrize("role", ["reviewer", "approver", "validator", "admin"])
@pytest.mark.parametrize("client", CLIENTS)
def test_staff_read_nothing_that_is_for_compliance(
    console: Running, visitor: Any, role: str, client: str
) -> None:
    who = visitor(f"staff-{role}", role)
    for path in addresses(client):
        text = who.get(path).text
        assert not [s for s in SECRET if s in text], path
        assert not [f for f in FIELDS if f in text], path


def test_compliance_reads_what_staff_may_not(console: Running, visitor: Any) -> None:
    who = visitor("cora", "auditor")
    for client in CLIENTS:
        text = who.get(f"/console/clients/{client}").text
        assert [s for s in SECRET if s in text], client
        assert all(f in text for f in FIELDS)


def test_a_letter_holds_reasons_for_clients_alone_whoever_prints_it(
    console: Running, visitor: Any
) -> None:
    who = visitor("cora", "auditor")
    for client in (*CLIENTS, "refuses", "c00"):
        for tongue in ("en", "zh"):
            page = who.get(f"/console/clients/{client}/letter?in={tongue}").text
            article = page[page.index("<article") : page.index("</article>")]
            assert not [s for s in SECRET if s in article]
            for entry in CATALOGUE.values():
                if entry.audience == "staff" and "{" not in entry.en:
                    assert entry.en not in article


def test_a_case_whose_reason_is_for_compliance_is_not_there_for_others(
    console: Running, visitor: Any
) -> None:
    auditor, reviewer = visitor("cora", "auditor"), visitor("rita", "reviewer")
    import re

    found = re.findall(
        r"/console/cases/([0-9a-f-]+)", auditor.get("/console/queue?client=amlhigh").text
    )
    assert found
    assert auditor.get(f"/console/cases/{found[0]}").status_code == 200
    assert reviewer.get(f"/console/cases/{found[0]}").status_code == 404
    assert found[0] not in reviewer.get("/console/queue?client=amlhigh").text
