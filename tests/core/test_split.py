"""Batches of every usual form, counted and cut."""

from collections import OrderedDict, UserDict
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from composer.core.split import count_samples, default_split_batch
from composer.errors import BatchSplitError, ConfigError


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


N = 5
X = torch.arange(N * 3).reshape(N, 3)
Y = torch.arange(N)
IMAGES = [torch.zeros(3, size, size) for size in range(2, 2 + N)]

BATCHES = {
    "tensor": X,
    "pair of tensors": (X, Y),
    "list of tensors": [X, Y],
    "three tensors": (X, Y, X),
    "named tuple": Pair(X, Y),
    "dictionary": {"x": X, "y": Y},
    "ordered dictionary": OrderedDict(x=X, y=Y),
    "other mapping": UserDict(x=X, y=Y),
    "dictionary with constants": {"x": X, "name": "a", "scale": 0.5, "none": None},
    "dictionary with a list": {"x": X, "names": list("abcde")},
    "nested dictionary": {"inputs": {"x": X}, "y": Y},
    "pair with a dictionary": ({"x": X}, Y),
    "pair with tensors inside": ((X, X), Y),
    "pair with a list of tensors": ([X, X, X], Y),
    "pair with texts": (X, list("abcde")),
    "images of different sizes": (IMAGES, [{"box": i} for i in range(N)]),
    "images as a tuple": (tuple(IMAGES), Y),
    "array": np.arange(N),
    "pair of arrays": (np.zeros((N, 2)), np.arange(N)),
    "zero-dimensional tensor": (X, torch.tensor(3.0)),
    "numbers": [1, 2, 3, 4, 5],
    "texts": tuple("abcde"),
    "one column": (X,),
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
class TestEveryForm:
    def test_samples_are_counted(self, batch):
        assert count_samples(batch) == N

    def test_microbatches_have_the_asked_size_and_the_last_the_rest(self, batch):
        assert [count_samples(part) for part in default_split_batch(batch, 2)] == [2, 2, 1]

    def test_a_batch_that_is_not_larger_is_returned_as_it_is(self, batch):
        for size in (N, N + 1):
            parts = default_split_batch(batch, size)
            assert len(parts) == 1
            assert parts[0] is batch


class TestParts:
    def test_a_tensor_is_cut_into_views(self):
        parts = default_split_batch(X, 2)
        assert same(
            [part.tolist() for part in parts], [X[:2].tolist(), X[2:4].tolist(), X[4:].tolist()]
        )
        assert parts[0].data_ptr() == X.data_ptr()

    def test_gradients_flow_through_the_parts(self):
        x = torch.ones(4, requires_grad=True)
        sum(part.sum() for part in default_split_batch(x, 3)).backward()
        assert x.grad.tolist() == [1, 1, 1, 1]

    def test_columns_become_tuples(self):
        assert same(default_split_batch([X, Y], 3)[1], (X[3:], Y[3:]))

    def test_a_named_tuple_stays_one(self):
        part = default_split_batch(Pair(X, Y), 3)[0]
        assert type(part) is Pair
        assert same(part, Pair(X[:3], Y[:3]))

    def test_a_mapping_becomes_a_dictionary_in_the_same_order(self):
        part = default_split_batch(UserDict(y=Y, x=X), 3)[1]
        assert list(part) == ["y", "x"]
        assert same(part, {"y": Y[3:], "x": X[3:]})

    def test_constants_are_repeated(self):
        parts = default_split_batch({"x": X, "name": "a", "scale": 0.5, "none": None}, 3)
        assert [(p["name"], p["scale"], p["none"]) for p in parts] == [("a", 0.5, None)] * 2

    def test_a_tensor_without_dimensions_is_repeated(self):
        scale = torch.tensor(3.0)
        assert all(part[1] is scale for part in default_split_batch((X, scale), 3))

    def test_lists_with_one_entry_per_sample_are_sliced(self):
        assert default_split_batch({"x": X, "names": list("abcde")}, 3)[1]["names"] == ["d", "e"]

    def test_nested_columns_are_cut_inside(self):
        assert same(default_split_batch(((X, Y), Y), 3)[0], ((X[:3], Y[:3]), Y[:3]))
        assert same(default_split_batch({"in": {"x": X}, "y": Y}, 3)[0]["in"], {"x": X[:3]})

    def test_images_of_different_sizes_are_shared_out(self):
        parts = default_split_batch((IMAGES, Y), 2)
        assert [len(part[0]) for part in parts] == [2, 2, 1]
        assert parts[1][0][0] is IMAGES[2]

    def test_numbers_and_texts_are_sliced(self):
        assert default_split_batch([1, 2, 3], 2) == [[1, 2], [3]]
        assert default_split_batch(("a", "b", "c"), 2) == [("a", "b"), ("c",)]


@given(num_samples=st.integers(1, 40), size=st.integers(1, 50))
def test_putting_the_parts_together_gives_the_batch(num_samples, size):
    x, y = torch.arange(num_samples * 2).reshape(-1, 2), np.arange(num_samples)
    names = [str(number) for number in range(num_samples)]
    parts = default_split_batch((x, {"y": y, "names": names}), size)
    assert all(0 < count_samples(part) <= size for part in parts)
    assert torch.equal(torch.cat([part[0] for part in parts]), x)
    assert np.array_equal(np.concatenate([part[1]["y"] for part in parts]), y)
    assert [name for part in parts for name in part[1]["names"]] == names


class TestRefusals:
    @pytest.mark.parametrize("size", [0, -1, 2.0, 0.5, "auto"])
    def test_sizes_are_whole_numbers(self, size):
        with pytest.raises(ConfigError, match="microbatch size"):
            default_split_batch(X, size)

    @pytest.mark.parametrize(
        "batch",
        [
            (X, torch.zeros(4)),
            {"x": X, "y": torch.zeros(4)},
            {"x": X, "names": ["a"]},
            (X, X, torch.zeros(4)),
            {"x": {"a": X, "b": torch.zeros(4)}},
        ],
    )
    def test_columns_of_different_lengths_have_no_count(self, batch):
        with pytest.raises(BatchSplitError, match="no length is common"):
            count_samples(batch)

    @pytest.mark.parametrize("batch", [3, "text", None, torch.tensor(1.0), {}, {"a": 1}, (1, "a")])
    def test_what_has_no_samples_is_refused(self, batch):
        with pytest.raises(BatchSplitError, match="DataSpec"):
            count_samples(batch)

    @pytest.mark.parametrize("batch", [object(), (X, object()), {"x": X, "o": object()}, {1, 2}])
    def test_unknown_types_are_refused(self, batch):
        with pytest.raises(BatchSplitError, match="DataSpec"):
            default_split_batch(batch, 2)

    def test_the_error_is_both_kinds_people_catch(self):
        for kind in (NotImplementedError, ValueError):
            with pytest.raises(kind):
                count_samples(object())

    def test_the_message_shows_the_shapes(self):
        with pytest.raises(BatchSplitError, match=r"'x': Tensor\[5, 3\], 'y': Tensor\[4\]"):
            count_samples({"x": X, "y": torch.zeros(4)})

    def test_lists_that_can_be_read_in_two_ways_are_refused(self):
        square = [torch.zeros(3, 2) for _ in range(3)]
        with pytest.raises(BatchSplitError, match="columns or as samples"):
            default_split_batch((square, torch.zeros(3)), 2)

    def test_lists_with_two_possible_counts_are_refused(self):
        with pytest.raises(BatchSplitError, match="may have 3 or 4 samples"):
            count_samples(([torch.zeros(3, 2) for _ in range(4)],))
