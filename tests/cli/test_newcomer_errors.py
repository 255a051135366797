"""What a newcomer easily gets wrong is refused in one line that says the way out."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gearline
from data_contracts.decision import decision_id
from data_contracts.importers import write_sample_market
from data_contracts.lake import LakeInfo, create_lake
from tests.cli.mistakes import ARGUMENTS, DATES, MARKETS
from tests.cli.mistakes_in_files import CASES, LAKES, OUTPUTS, RECORD


def case_files(folder, demo):
    """Case files that go wrong, each in one way, by the demo's own case."""
    text = (demo / "case.json").read_text("utf-8")

    def wrong(name, change):
        document = json.loads(text)
        for part in ("bundle", "market"):
            document[part] = str(demo / document[part])
        change(document, document["case"], document["features"])
        (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")

    (folder / "broken.json").write_text('{"policy": ', "utf-8")
    (folder / "list.json").write_text("[]", "utf-8")
    wrong("no-market", lambda d, c, f: d.pop("market"))
    wrong("no-client", lambda d, c, f: c.pop("client_id"))
    wrong("nameless", lambda d, c, f: c.update(client_id=""))
    wrong("nickname", lambda d, c, f: c.update(nickname="Al"))
    wrong("aml", lambda d, c, f: c["status"].update(aml_level="unknown"))
    wrong("margin", lambda d, c, f: c["status"].update(margin_state="fine"))
    wrong("float", lambda d, c, f: c["book"].update(cash_amt=12.5))
    wrong("luck", lambda d, c, f: f.update(luck=7))
    wrong("lacks", lambda d, c, f: f.pop("nav_return_60"))
    wrong("half", lambda d, c, f: f.update(nav_return_60=0.5))
    wrong("pack", lambda d, c, f: d.update(policy="uk"))
    wrong("cn", lambda d, c, f: d.update(policy="cn"))
    wrong("early", lambda d, c, f: d.update(effective_on="1920-01-02"))
    wrong("elsewhere", lambda d, c, f: d.update(market="nowhere"))
    wrong("unlearnt", lambda d, c, f: d.update(bundle="nowhere"))
    wrong("old", lambda d, c, f: c.update(as_of="2001-01-02"))


@pytest.fixture(scope="module")
def places(tmp_path_factory, small_demo, tiny_market, tiny_lake):
    """What the commands of the tables name: good places and bad ones."""
    root = tmp_path_factory.mktemp("wrong")
    files = root / "files"
    files.mkdir()
    (files / "good.csv").write_text("symbol,date,close\nAAPL,2014-07-01,93.52\n", "utf-8")
    (files / "wrong.csv").write_text("day,price\n2014-07-01,93.52\n", "utf-8")
    (files / "empty.csv").write_text("", "utf-8")
    (files / "text.parquet").write_text("AAPL 93.52\n" * 10, "utf-8")
    (files / "prices.xlsx").write_bytes(b"PK\x03\x04")
    table = pa.table({"symbol": ["AAPL"], "date": ["2014-07-01"]})
    pq.write_table(table, files / "short.parquet")
    case_files(files, small_demo.path)
    (root / "broken").mkdir()
    (root / "broken" / "lake.json").write_text('{"currency": ', "utf-8")
    create_lake(root / "yuan", LakeInfo("CNY", "XSHG", 4, "ashare-daily: made.parquet"))
    write_sample_market(root / "other")
    run, as_of = "2020-03-20-00000000-00000000", "2020-03-20"
    return SimpleNamespace(
        demo=small_demo.path,
        market=tiny_market,
        lake=tiny_lake,
        files=files,
        none=root / "none",
        new=root / "new",
        under=files / "text.parquet" / "x",
        broken=root / "broken",
        yuan=root / "yuan",
        other=root / "other",
        stranger=decision_id(run, "nobody", as_of),
    )


@pytest.mark.parametrize(
    ("command", "phrases"), [*ARGUMENTS, *DATES, *MARKETS, *LAKES, *OUTPUTS, *RECORD, *CASES]
)
def test_a_mistake_is_refused_in_one_line_with_the_way_out(command, phrases, places, cli):
    before = sorted(places.files.iterdir())
    ran = cli(*(part.format(**vars(places)) for part in command.split()))
    assert ran.code == gearline.REFUSED
    assert ran.out == ""
    assert ran.err.startswith("gearline: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    for phrase in phrases:
        assert phrase.format(**vars(places)) in ran.err
    assert not places.new.exists(), "what is refused writes nothing"
    assert sorted(places.files.iterdir()) == before


def test_a_demo_of_too_few_defaults_counts_them_and_says_what_is_needed(cli, tmp_path):
    ran = cli("demo", "--clients", 200, "--out", tmp_path / "demo", "--json")
    assert (ran.code, ran.out) == (gearline.REFUSED, "")
    headline, refusal = ran.err.splitlines()
    assert headline.startswith("Gearline demo: ")
    assert refusal.startswith("gearline: only ")
    assert "at least 30 are needed: simulate more clients or a longer period" in refusal
