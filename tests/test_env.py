"""Environment variables are typed, and read at the time of the call."""

import pytest

from composer import env
from composer.errors import ConfigError


def test_a_variable_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.RANK.get() is None
    monkeypatch.setenv("RANK", " 3 ")
    assert env.RANK.get() == 3


def test_a_blank_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSER_RUN_NAME", "  ")
    assert env.COMPOSER_RUN_NAME.get() is None
    assert not env.COMPOSER_RUN_NAME.is_set()


def test_a_text_variable_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_NAME", "my-run")
    assert env.RUN_NAME.get() == "my-run"
    assert env.RUN_NAME.is_set()


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        (env.RANK, "one", "a whole number of at least 0"),
        (env.RANK, "-1", "a whole number of at least 0"),
        (env.WORLD_SIZE, "0", "a whole number of at least 1"),
        (env.MASTER_PORT, "70000", "a port number"),
        (env.ENV_REPORT, "maybe", "a yes or no"),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    variable: env.Variable[object], text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable.name, text)
    with pytest.raises(ConfigError, match=allowed) as caught:
        variable.get()
    assert f"{variable.name}={text!r}" in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False)])
def test_a_switch_knows_the_usual_words(
    text: str, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(env.ENV_REPORT.name, text)
    assert env.ENV_REPORT.get() is value


def test_every_variable_is_documented_once() -> None:
    variables = env.all_variables()
    names = [variable.name for variable in variables]
    assert len(set(names)) == len(names) > 10
    assert all(variable.help.endswith(".") for variable in variables)
