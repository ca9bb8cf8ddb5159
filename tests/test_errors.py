"""The exception tree and the sentence about near names."""

import pytest

from composer import errors
from composer.errors import ComposerError, ConfigError, UnknownNameError, did_you_mean, unknown_name

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ComposerError) and value is not ComposerError
]


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_an_error_also_is_what_people_already_catch(error: type[ComposerError]) -> None:
    builtin = [base for base in error.__mro__ if base.__module__ == "builtins"]
    assert builtin[0] not in (Exception, BaseException)


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_an_error_is_drawn_in_the_tree_and_exported(error: type[ComposerError]) -> None:
    assert f"- {error.__name__} " in (errors.__doc__ or "")
    assert error.__name__ in errors.__all__


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_an_error_shows_its_message_as_it_is(error: type[ComposerError]) -> None:
    assert str(error("it's so")) == "it's so"


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_a_line_of_the_tree_names_the_builtin_parent(error: type[ComposerError]) -> None:
    line = next(
        line for line in (errors.__doc__ or "").splitlines() if f"- {error.__name__} " in line
    )
    own = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins"]
    assert all(f"({name})" in line for name in own)


def test_a_near_name_is_offered_whatever_its_case() -> None:
    assert did_you_mean("mixup", ["MixUp", "SAM"]) == " Did you mean 'MixUp'?"


def test_two_near_names_are_both_offered() -> None:
    assert did_you_mean("cutmx", ["cutmix", "cutmax"]).count("cutm") == 2


def test_a_short_list_is_shown_when_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == " Known: 'a', 'b'."


def test_a_long_list_is_not_shown() -> None:
    assert did_you_mean("zzz", map(str, range(100))) == ""


def test_an_unknown_name_says_what_it_should_name_and_what_to_do() -> None:
    error = unknown_name("algorithm", "MixUpp", iter(["MixUp"]), "Register your own class.")
    assert isinstance(error, UnknownNameError)
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "unknown algorithm 'MixUpp'. Did you mean 'MixUp'? Register your own class."
    )


def test_an_unknown_name_among_many_tells_how_many_there_are() -> None:
    assert "There are 100 known names." in str(unknown_name("unit", "zzz", map(str, range(100))))
