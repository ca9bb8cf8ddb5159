import copy
import pickle

import pytest

from composer.errors import UnknownNameError
from composer.utils.string_enum import StringEnum


class Fruit(StringEnum):
    RED_APPLE = "apple"
    PEAR = "pear"


@pytest.mark.parametrize("key", ["apple", "Apple", "RED_APPLE", "red_apple", Fruit.RED_APPLE])
def test_a_member_is_found_by_value_or_name_in_any_case(key: object) -> None:
    assert Fruit(key) is Fruit.RED_APPLE


def test_an_unknown_string_is_refused_with_the_nearest_value() -> None:
    with pytest.raises(UnknownNameError, match=r"'aple'.*'apple'"):
        Fruit("aple")


@pytest.mark.parametrize("key", [1, None, 2.5])
def test_a_key_of_another_type_is_a_type_error(key: object) -> None:
    with pytest.raises(TypeError, match="Fruit takes a string"):
        Fruit(key)


def test_lower_case_member_names_are_refused_when_the_class_is_made() -> None:
    with pytest.raises(ValueError, match="upper case"):

        class Wrong(StringEnum):
            plum = "plum"


@pytest.mark.parametrize("value", ["Plum", 3])
def test_values_that_are_no_lower_case_strings_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="lower case"):
        StringEnum("Wrong", {"PLUM": value})


def test_comparing_with_a_string_converts_it_and_warns() -> None:
    with pytest.warns(UserWarning, match="convert it first"):
        assert Fruit.PEAR == "PEAR"
    with pytest.warns(UserWarning, match="convert it first"):
        assert Fruit.PEAR != "apple"


def test_comparing_with_a_string_that_names_no_member_is_false() -> None:
    with pytest.warns(UserWarning, match="convert it first"):
        assert Fruit.PEAR != "cherry"


def test_members_are_only_equal_to_themselves() -> None:
    class Other(StringEnum):
        PEAR = "pear"

    assert Fruit("pear") == Fruit.PEAR
    assert Fruit.PEAR != Other.PEAR
    assert Fruit.PEAR != 3


def test_copies_and_pickles_are_the_member_itself() -> None:
    assert copy.deepcopy(Fruit.PEAR) is Fruit.PEAR
    assert pickle.loads(pickle.dumps(Fruit.PEAR)) is Fruit.PEAR


def test_members_are_keys_of_dictionaries() -> None:
    assert {Fruit.PEAR: 1}[Fruit("pear")] == 1
