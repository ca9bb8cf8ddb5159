"""Keys into batches of every form."""

import dataclasses
from collections import defaultdict
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from composer.errors import ConfigError, DataError
from composer.utils.batch_helpers import batch_get, batch_set


class Pair(NamedTuple):
    image: object
    label: object


@dataclasses.dataclass
class Sample:
    image: object
    label: object


@dataclasses.dataclass(frozen=True)
class FrozenSample:
    image: object
    label: object


PARTS = ("the image", "the label")
BY_NAME = [
    {"image": PARTS[0], "label": PARTS[1]},
    Pair(*PARTS),
    Sample(*PARTS),
    FrozenSample(*PARTS),
    SimpleNamespace(image=PARTS[0], label=PARTS[1]),
]
BY_INDEX = [PARTS, list(PARTS), Pair(*PARTS)]


def fresh(batch):
    """A batch that the test may change."""
    return type(batch)(batch) if isinstance(batch, list | dict) else dataclass_copy(batch)


def dataclass_copy(batch):
    if isinstance(batch, SimpleNamespace):
        return SimpleNamespace(**vars(batch))
    return dataclasses.replace(batch) if dataclasses.is_dataclass(batch) else batch


@pytest.mark.parametrize("batch", BY_NAME, ids=lambda batch: type(batch).__name__)
class TestNames:
    def test_reads_by_name(self, batch):
        assert batch_get(batch, "label") == "the label"

    def test_reads_several_names_as_a_tuple(self, batch):
        assert batch_get(batch, ["label", "image"]) == ("the label", "the image")

    def test_replaces_by_name_and_keeps_the_type(self, batch):
        changed = batch_set(fresh(batch), "label", "new")
        assert type(changed) is type(batch)
        assert batch_get(changed, ("image", "label")) == ("the image", "new")

    def test_replaces_several_names(self, batch):
        changed = batch_set(fresh(batch), ["label", "image"], [1, 2])
        assert batch_get(changed, ("image", "label")) == (2, 1)

    def test_refuses_to_add_a_name(self, batch):
        with pytest.raises((KeyError, DataError), match="weight"):
            batch_set(fresh(batch), "weight", 1)

    def test_reading_an_unknown_name_fails(self, batch):
        with pytest.raises((KeyError, AttributeError)):
            batch_get(batch, "weight")


@pytest.mark.parametrize("batch", BY_INDEX, ids=lambda batch: type(batch).__name__)
class TestIndices:
    def test_reads_by_index(self, batch):
        assert batch_get(batch, 1) == "the label"
        assert batch_get(batch, -2) == "the image"

    def test_reads_several_indices_as_a_tuple(self, batch):
        assert batch_get(batch, (1, 0)) == ("the label", "the image")

    def test_replaces_by_index_and_keeps_the_type(self, batch):
        changed = batch_set(fresh(batch), 0, "new")
        assert type(changed) is type(batch)
        assert tuple(changed) == ("new", "the label")

    def test_an_index_out_of_range_fails(self, batch):
        with pytest.raises(IndexError):
            batch_get(batch, 2)
        with pytest.raises(IndexError):
            batch_set(fresh(batch), 2, "new")


class TestInPlace:
    def test_lists_are_changed_in_place(self):
        batch = [1, 2]
        assert batch_set(batch, 0, 9) is batch

    def test_tuples_are_left_as_they_are(self):
        batch = (1, 2)
        assert batch_set(batch, 0, 9) == (9, 2)
        assert batch == (1, 2)

    def test_a_frozen_data_class_is_left_as_it_is(self):
        batch = FrozenSample(1, 2)
        assert batch_set(batch, "image", 9) == FrozenSample(9, 2)
        assert batch == FrozenSample(1, 2)

    def test_a_defaultdict_gets_no_new_entry(self):
        batch = defaultdict(list, image=1)
        with pytest.raises(KeyError, match="'image'"):
            batch_set(batch, "label", 2)
        assert list(batch) == ["image"]


class TestCallables:
    def test_a_callable_reads(self):
        assert batch_get([{"a": 1}], lambda batch: batch[0]["a"]) == 1

    def test_a_callable_writes(self):
        def put(batch, value):
            batch[0]["a"] = value
            return batch

        assert batch_set([{"a": 1}], put, 5) == [{"a": 5}]

    def test_a_pair_reads_with_the_first_and_writes_with_the_second(self):
        key = (lambda batch: batch[0], lambda batch, value: [value, *batch[1:]])
        assert batch_get([1, 2], key) == 1
        assert batch_set([1, 2], key, 7) == [7, 2]

    def test_three_callables_are_no_pair(self):
        with pytest.raises(ConfigError, match=r"pair \(get, set\), got 3"):
            batch_get([1], (len, len, len))


@pytest.mark.parametrize("make", [torch.tensor, np.array], ids=["tensor", "array"])
class TestArrays:
    def test_an_index_reads_and_writes(self, make):
        batch = make([[1, 2], [3, 4]])
        assert batch_get(batch, 1).tolist() == [3, 4]
        assert batch_set(batch, 1, make([9, 9])) is batch
        assert batch.tolist() == [[1, 2], [9, 9]]

    def test_a_tuple_is_one_index_into_several_dimensions(self, make):
        batch = make([[1, 2], [3, 4]])
        assert int(batch_get(batch, (1, 0))) == 3
        batch_set(batch, (1, 0), 8)
        assert batch.tolist() == [[1, 2], [8, 4]]

    def test_a_list_chooses_rows(self, make):
        assert batch_get(make([1, 2, 3]), [0, 2]).tolist() == [1, 3]

    def test_more_indices_than_dimensions_are_several_items(self, make):
        batch = make([1, 2, 3])
        assert [int(item) for item in batch_get(batch, (0, 1, 2))] == [1, 2, 3]
        assert batch_set(batch, (0, 1), [5, 6]).tolist() == [5, 6, 3]

    def test_a_slice_reads(self, make):
        assert batch_get(make([1, 2, 3]), slice(1, None)).tolist() == [2, 3]


class TestSeveralKeys:
    def test_a_tuple_that_is_a_key_of_the_mapping_is_one_key(self):
        batch = {("a", "b"): 1, "a": 2}
        assert batch_get(batch, ("a", "b")) == 1
        assert batch_set(batch, ("a", "b"), 5) == {("a", "b"): 5, "a": 2}

    @pytest.mark.parametrize("values", ["ab", 3, None])
    def test_several_keys_need_several_values(self, values):
        with pytest.raises(DataError, match="2 keys need a sequence"):
            batch_set([1, 2, 3], (0, 1), values)

    def test_as_many_values_as_keys(self):
        with pytest.raises(DataError, match="2 keys need as many values, got 3"):
            batch_set([1, 2, 3], (0, 1), [1, 2, 3])


def test_a_name_in_a_plain_tuple_is_refused_with_advice():
    with pytest.raises(DataError, match="use an index"):
        batch_set((1, 2), "image", 3)


def test_dotted_names_read_nested_attributes():
    assert batch_get(SimpleNamespace(inner=SimpleNamespace(x=4)), "inner.x") == 4
