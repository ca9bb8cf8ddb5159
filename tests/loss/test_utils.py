"""Recognising and converting targets."""

import warnings

import pytest
import torch

from composer.errors import TargetShapeError
from composer.loss.utils import (
    check_for_index_targets,
    ensure_targets_one_hot,
    infer_target_type,
    spread_indices,
)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((4,), "indices"), ((4, 3), "one_hot")],
)
def test_targets_of_a_flat_batch_are_told_by_shape(shape, kind):
    assert infer_target_type(torch.zeros(4, 3), torch.zeros(shape)) == kind


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((4, 5, 6), "indices"), ((4, 3, 5, 6), "one_hot")],
)
def test_targets_of_masks_are_told_by_shape(shape, kind):
    assert infer_target_type(torch.zeros(4, 3, 5, 6), torch.zeros(shape)) == kind


def test_targets_of_any_other_shape_are_refused():
    with pytest.raises(TargetShapeError, match=r"\(4, 3, 1\).*\(4, 3\)"):
        infer_target_type(torch.zeros(4, 3), torch.zeros(4, 3, 1))


def test_the_refusal_can_be_caught_as_a_runtime_error():
    with pytest.raises(RuntimeError):
        infer_target_type(torch.zeros(4, 3), torch.zeros(4, 2))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_integers_can_be_indices(dtype):
    assert check_for_index_targets(torch.zeros(3, dtype=dtype)) is True


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.complex64])
def test_other_types_cannot_be_indices(dtype):
    assert check_for_index_targets(torch.zeros(3, dtype=dtype)) is False


def test_indices_become_rows_with_a_single_one():
    dense = ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([2, 0]))
    assert dense.dtype == torch.float32
    assert dense.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_the_classes_of_masks_become_the_second_dimension():
    targets = torch.tensor([[[0, 2], [1, 1]]])
    dense = ensure_targets_one_hot(torch.zeros(1, 3, 2, 2), targets)
    assert dense.shape == (1, 3, 2, 2)
    assert torch.equal(dense.argmax(dim=1), targets)
    assert torch.equal(dense.sum(dim=1), torch.ones(1, 2, 2))


def test_the_classes_of_a_single_item_become_its_only_dimension():
    assert ensure_targets_one_hot(torch.zeros(3), torch.tensor(1)).tolist() == [0, 1, 0]


def test_the_number_of_classes_can_be_given():
    dense = ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([2, 0]), num_classes=5)
    assert dense.tolist() == [[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]


def test_small_integer_types_are_accepted():
    dense = ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([2, 0], dtype=torch.uint8))
    assert dense.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_dense_targets_pass_as_floats():
    targets = torch.tensor([[0, 1], [1, 0]])
    dense = ensure_targets_one_hot(torch.zeros(2, 2), targets)
    assert dense.dtype == torch.float32
    assert torch.equal(dense, targets.float())


def test_a_negative_index_becomes_a_row_of_zeros_with_a_warning():
    with pytest.warns(UserWarning, match="negative class indices"):
        dense = ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([-1, 1]))
    assert dense.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_valid_indices_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_an_index_beyond_the_classes_is_refused():
    with pytest.raises(RuntimeError, match="out of bounds"):
        ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_the_input_targets_are_not_changed():
    targets = torch.tensor([-1, 1])
    with pytest.warns(UserWarning, match="negative class indices"):
        ensure_targets_one_hot(torch.zeros(2, 3), targets)
    assert targets.tolist() == [-1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_indices_that_are_no_whole_numbers_are_refused(dtype):
    with pytest.raises(TargetShapeError, match=r"whole numbers.*\.long\(\)"):
        ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([1, 0]).to(dtype))


def test_values_at_and_beside_the_class_can_be_given():
    with pytest.warns(UserWarning, match="negative class indices"):
        rows = spread_indices(torch.tensor([1, -1]), 3, on=0.8, off=0.1)
    torch.testing.assert_close(rows, torch.tensor([[0.1, 0.8, 0.1], [0.0, 0.0, 0.0]]))


def test_no_items_give_no_rows():
    empty = torch.zeros(0, dtype=torch.int64)
    assert ensure_targets_one_hot(torch.zeros(0, 3), empty).shape == (0, 3)
