import importlib.util
import inspect
from types import ModuleType

import pytest

from composer.registry import ALGORITHMS
from tests.contract import _properties
from tests.contract._cases import first_cases
from tests.house.source import REPOSITORY

LEGACY = ("Factorize", "GyroDropout", "LayerFreezing", "SelectiveBackprop", "SqueezeExcite")


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "method_cards", REPOSITORY / "tools" / "method_cards.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_are_current(cards: ModuleType) -> None:
    folder = REPOSITORY / "docs" / "methods"
    committed = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    stale = [name for name, text in cards.all_pages().items() if committed.get(name) != text]
    assert not stale, "run python tools/method_cards.py"
    assert committed.keys() == cards.all_pages().keys()


def test_every_card_has_all_parts(cards: ModuleType) -> None:
    pages = cards.all_pages()
    del pages["README.md"]
    for text in pages.values():
        assert "## Paper" in text or "## Source" in text
        for heading in ("Idea", "When it helps", "When it hurts", "Suggested values", "Measured"):
            assert f"## {heading}\n\n" in text
        assert "``" not in text


@pytest.mark.parametrize("name", ["MixUp", "Muon", "ScheduleFreeSGD", "DecoupledAdamW"])
def test_algorithms_and_optimizers_stand_in_the_overview_and_lead_to_a_card(
    cards: ModuleType, name: str
) -> None:
    pages = cards.all_pages()
    assert f"| [{name}]({cards.page_of(name)}) |" in pages["README.md"]
    package = "algorithms" if name in ALGORITHMS else "optim"
    assert f"`composer.{package}.{name}(" in pages[cards.page_of(name)]


@pytest.mark.parametrize(
    ("metric", "interval", "shows"),
    [
        ("accuracy, %", "+0.1 .. +0.5", "a gain"),
        ("accuracy, %", "-0.1 .. +0.5", "no gain, no loss"),
        ("loss (lower is better)", "+0.1 .. +0.5", "a loss"),
        ("loss (lower is better)", "-0.5 .. -0.1", "a gain"),
    ],
)
def test_a_row_says_what_it_shows(
    cards: ModuleType, metric: str, interval: str, shows: str
) -> None:
    row = {"metric": metric, "interval": interval}
    assert shows in cards.measured_table([row])


@pytest.mark.parametrize("name", [name for name in LEGACY if name in ALGORITHMS])
def test_methods_without_an_independent_gain_say_so(cards: ModuleType, name: str) -> None:
    assert "no independent" in cards.card([name], {}).lower()


@pytest.mark.parametrize(
    ("p", "shows"), [("0.049", "a gain"), ("0.05", "perhaps a gain"), ("1", "perhaps a gain")]
)
def test_a_gain_that_chance_may_have_made_is_called_so(
    cards: ModuleType, p: str, shows: str
) -> None:
    assert cards.finding({"interval": "+0.1 .. +0.3", "p": p}) == shows


def test_every_column_is_a_test_that_runs_every_method() -> None:
    names = {case.name for case in first_cases()}
    for each in _properties.PROPERTIES:
        module = importlib.import_module(f"tests.contract.{each.module}")
        marks = getattr(module, each.test).pytestmark
        cases = next(mark.args[1] for mark in marks if mark.name == "parametrize")
        assert {case.name for case in cases} == names


def test_every_limit_is_of_a_column() -> None:
    titles = {each.title for each in _properties.PROPERTIES}
    assert {title for _, title in _properties.LIMITS} <= titles


def test_a_measured_row_stands_in_its_card(cards: ModuleType) -> None:
    row = {"workload": "digits", "difference": "+1.0", "interval": "+0.5 .. +1.5"}
    text = cards.card(["MixUp"], {"MixUp": [row]})
    assert "| workload | difference | 95 % interval |" in text
    assert "| digits | +1.0 | +0.5 .. +1.5 |" in text


def test_rows_of_a_shared_card_say_whose_they_are(cards: ModuleType) -> None:
    names = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]
    text = cards.card(names, {"ScheduleFreeSGD": [{"difference": "+1.0"}]})
    assert "| method | difference | shows |" in text
    assert "| ScheduleFreeSGD | +1.0 |" in text


def test_a_card_is_read_from_the_text_of_its_module(cards: ModuleType) -> None:
    text = inspect.cleandoc(
        """Name: what it does.

        Paper: Somebody, 2020, arXiv:2001.00001.

        Idea: use ``x`` as :func:`f` does::

            y = x
            z = y

        When it helps: here. When it hurts: there.

        Suggested values: one.

        Two.
        """
    )
    title, parts = cards.read_card(text)
    assert title == "Name: what it does"
    assert dict(parts) == {
        "Paper": "Somebody, 2020, [arXiv:2001.00001](https://arxiv.org/abs/2001.00001).",
        "Idea": "Use `x` as `f` does:\n\n    y = x\n    z = y",
        "When it helps": "Here.",
        "When it hurts": "There.",
        "Suggested values": "One.\n\nTwo.",
    }
