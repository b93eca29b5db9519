"""The catalog map: what it accepts, and that each mistake names its line."""

from pathlib import Path

import pytest

from meterbridge.catalog import load_catalog
from meterbridge.cli.catalog_checks import Offered, shared_plans
from meterbridge.errors import SetupError

GOOD = """\
plans:
  - {item_price: api-pro-EUR-Monthly, plan: api-pro-eur}
charges:
  - product: api
    line_item_type: USAGE
    item_price: api-usage-EUR
    segment: {region: eu}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    catalog = load_catalog(written(tmp_path, GOOD))
    assert [(row.item_price, row.plan) for row in catalog.plans] == [("api-pro-EUR-Monthly", "api-pro-eur")]
    assert catalog.charges[0].segment == {"region": "eu"}
    assert catalog.charges[0].aggregation is None


def test_layout_does_not_change_the_fingerprint_but_content_does(tmp_path: Path) -> None:
    one = load_catalog(written(tmp_path, GOOD)).fingerprint()
    assert load_catalog(written(tmp_path, "# a comment\n" + GOOD)).fingerprint() == one
    assert load_catalog(written(tmp_path, GOOD.replace("api-pro-eur", "api-pro-usd"))).fingerprint() != one


def test_item_prices_that_share_a_plan_are_told_when_the_map_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"base": "api", "yearly": "api", "overage": "api", "support": "support"}
    text = "plans:\n" + "".join(f"  - {{item_price: {price}, plan: {plan}}}\n" for price, plan in rows.items())
    with caplog.at_level("INFO", "meterbridge.catalog"):
        catalog = load_catalog(written(tmp_path, text))
    assert catalog.shared == {"api": ("base", "yearly", "overage")}
    (told,) = [one for one in caplog.records if one.name == "meterbridge.catalog"]
    assert (told.__dict__["plan"], told.__dict__["item_prices"]) == ("api", "base, yearly, overage")


@pytest.mark.parametrize(("kind", "told"), [("plan", 0), ("addon", 1)])
def test_doctor_tells_of_a_shared_plan_where_one_subscription_can_have_both(
    tmp_path: Path, kind: str, told: int
) -> None:
    text = "plans:\n  - {item_price: base, plan: api}\n  - {item_price: more, plan: api}\n"
    prices = {"base": {"item_type": "plan"}, "more": {"item_type": kind}}
    found = list(shared_plans(load_catalog(written(tmp_path, text)), Offered(prices, {"api": None})))
    assert [one.verdict for one in found] == ["ok"] * told
    assert all("base (plan), more (addon) stand for m3ter plan api" in one.words for one in found)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param(GOOD.replace("    line_item_type", "    line_type"), 5, "unknown key", id="unknown-key-in-a-row"),
        pytest.param("plan:\n  - {}\n", 1, "unknown key", id="unknown-key-at-the-top"),
        pytest.param("plans:\n  - {item_price: a}\n", 2, "Field required", id="missing-field"),
        pytest.param("plans:\n  - {item_price: a, plan: b\n", 3, "expected", id="broken-yaml"),
        pytest.param("plans:\n- {item_price: a, plan: b}\n- {item_price: a, plan: c}\n", 3, "twice", id="mapped-twice"),
        pytest.param("plans: []\ncharges: []\nplans: []\n", 3, "repeated", id="repeated-key"),
        pytest.param("- 1\n", 1, "valid dictionary", id="not-a-mapping"),
        pytest.param("charges:\n  - item_price: a\n    currency: EURO\n", 3, "at most 3", id="currency-length"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SetupError) as caught:
        load_catalog(path)
    assert caught.value.code == "MB-CATALOG"
    assert f"{path}:{line}:" in caught.value.message
    assert words in caught.value.message


def test_a_missing_file_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        load_catalog(tmp_path / "none.yaml")
    assert "catalog.example.yaml" in caught.value.remedy


def test_an_empty_file_is_an_empty_map(tmp_path: Path) -> None:
    assert load_catalog(written(tmp_path, "# nothing yet\n")).plans == ()


def test_aliases_are_refused_before_they_can_grow(tmp_path):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    (tmp_path / "bomb.yaml").write_text("\n".join(levels))
    with pytest.raises(SetupError, match=r"bomb\.yaml:2: the alias \*a0 is not taken") as refusal:
        load_catalog(tmp_path / "bomb.yaml")
    assert refusal.value.code == "MB-CATALOG"


def test_a_catalog_that_says_nothing_of_replacing_has_the_fingerprint_that_it_had(tmp_path: Path) -> None:
    row = "{item_price: api, plan: api-plan"
    plain, more = (f"plans:\n  - {row}{rest}}}\n" for rest in ("", ", replace_on: mapped_plan"))
    assert load_catalog(written(tmp_path, plain)).fingerprint() == "6bbec60c997166eb"
    catalog = load_catalog(written(tmp_path, more))
    assert (catalog.plans[0].replace_on, catalog.fingerprint() == "6bbec60c997166eb") == ("mapped_plan", False)


def test_a_word_that_does_not_say_when_to_replace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="replace_on"):
        load_catalog(written(tmp_path, "plans:\n  - {item_price: api, plan: p, replace_on: never}\n"))
