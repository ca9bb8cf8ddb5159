"""Hyperparameters from arguments, and nested dictionaries."""

from enum import Enum

import pytest

from composer.errors import ConfigError
from composer.utils.auto_log_hparams import (
    convert_flat_dict_to_nested_dict,
    convert_nested_dict_to_flat_dict,
    extract_hparams,
)


class Colour(Enum):
    RED = "red"


class Model:
    pass


class Known:
    def __init__(self, width=3):
        self.local_hparams = extract_hparams(locals())


def test_values_stay_and_objects_become_names():
    found = extract_hparams(
        {"lr": 0.1, "name": "x", "flag": True, "none": None, "colour": Colour.RED, "m": Model()}
    )
    assert found == {
        "lr": 0.1,
        "name": "x",
        "flag": True,
        "none": None,
        "colour": "red",
        "m": "Model",
    }


def test_lists_and_dictionaries_are_looked_into():
    assert extract_hparams({"a": [1, Model()], "b": (Colour.RED,), "c": {"x": Model()}}) == {
        "a": [1, "Model"],
        "b": ["red"],
        "c": {"x": "Model"},
    }


def test_private_names_self_and_classes_are_left_out():
    assert extract_hparams({"_a": 1, "__b": 2, "self": 3, "cls": Model, "kept": 4}) == {"kept": 4}


def test_an_object_with_hyperparameters_of_its_own_gives_them():
    assert extract_hparams({"model": Known(width=5)}) == {"model": {"Known": {"width": 5}}}


def test_flat_and_nested_undo_each_other():
    nested = {"a": 1, "b": {"c": 2, "d": {"e": [3]}}}
    flat = {"a": 1, "b/c": 2, "b/d/e": [3]}
    assert convert_nested_dict_to_flat_dict(nested) == flat
    assert convert_flat_dict_to_nested_dict(flat) == nested


def test_a_prefix_goes_before_every_key():
    assert convert_nested_dict_to_flat_dict({"a": {"b": 1}}, prefix="p") == {"p/a/b": 1}


@pytest.mark.parametrize("flat", [{"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}])
def test_a_key_cannot_be_a_value_and_a_folder(flat):
    with pytest.raises(ConfigError, match="a"):
        convert_flat_dict_to_nested_dict(flat)
