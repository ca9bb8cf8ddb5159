"""The fused kernel is chosen only where it is right."""

import pytest
import torch

from composer.optim.kernels import choose_kernel, shrink, shrink_where_it_agrees

FREE = {"fused": None, "foreach": None, "capturable": False}


def plain():
    return torch.nn.Parameter(torch.ones(2, 3))


def test_plain_tensors_on_the_cpu_use_the_fused_kernel():
    assert choose_kernel(FREE, [plain(), plain()], [torch.ones(2, 3)] * 2, []) == (None, True)


@pytest.mark.parametrize(
    ("group", "choice"),
    [
        ({"fused": False, "foreach": None}, (None, False)),
        ({"fused": True, "foreach": None}, (None, True)),
        ({"fused": None, "foreach": True}, (True, None)),
        ({"fused": None, "foreach": False}, (False, None)),
        ({"fused": None, "foreach": None, "capturable": True}, (None, None)),
    ],
)
def test_the_users_wish_is_kept(group, choice):
    assert choose_kernel(group, [plain()]) == choice


class Sharded(torch.Tensor):
    pass


class Elsewhere(torch.Tensor):
    is_cpu = False


@pytest.mark.parametrize(
    ("params", "grads"),
    [
        ([plain()], [torch.ones(3, 2).t()]),
        ([torch.ones(3, 2).t()], [torch.ones(2, 3)]),
        ([plain()], [torch.ones(2, 3, dtype=torch.float64)]),
        ([plain(), torch.ones(1, dtype=torch.float64)], []),
        ([torch.ones(2, dtype=torch.complex64)], []),
        ([torch.ones(2, device="meta")], []),
        ([torch.ones(2).as_subclass(Sharded)], []),
    ],
    ids=["gradient layout", "layout", "gradient type", "types", "complex", "device", "subclass"],
)
def test_other_tensors_leave_the_choice_to_torch(params, grads):
    assert choose_kernel(FREE, params, grads) == (None, None)


def test_sharded_and_plain_tensors_together_are_looped_over():
    assert choose_kernel(FREE, [torch.ones(2), Sharded()], []) == (False, False)


@pytest.mark.parametrize("decay", [0.25, torch.tensor(0.25)], ids=["number", "tensor"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    ("found_inf", "left"), [(None, 0.75), (torch.tensor(0.0), 0.75), (torch.tensor(1.0), 1.0)]
)
def test_shrinking_takes_the_share_of_every_tensor(decay, mixed, found_inf, left):
    params = [torch.ones(2), torch.ones(3)]
    if mixed:
        params[1] = params[1].as_subclass(Sharded)
    shrink(params, decay, found_inf)
    assert [p.tolist() for p in params] == [[left] * 2, [left] * 3]


@pytest.mark.parametrize("decay", [0.25, torch.tensor(0.25)], ids=["number", "tensor"])
@pytest.mark.parametrize("mixed", [False, True], ids=["one class", "two classes"])
def test_cautious_shrinking_spares_weights_that_the_step_makes_larger(decay, mixed):
    params = [torch.tensor([4.0, 4.0, 4.0, -4.0, -4.0]), torch.tensor([4.0])]
    directions = [torch.tensor([1.0, -1.0, 0.0, 1.0, -1.0]), torch.tensor([1.0])]
    if mixed:
        params[1] = params[1].as_subclass(Sharded)
    shrink_where_it_agrees(params, directions, decay)
    assert [p.tolist() for p in params] == [[3.0, 4.0, 3.0, -4.0, -3.0], [3.0]]


@pytest.mark.parametrize("decay", [0.25, torch.tensor(0.25)], ids=["number", "tensor"])
def test_lists_on_accelerators_are_spared_alike(decay):
    params = [torch.tensor([4.0, 4.0, 4.0, -4.0]).as_subclass(Elsewhere)]
    directions = [torch.tensor([1.0, -1.0, 0.0, 1.0]).as_subclass(Elsewhere)]
    shrink_where_it_agrees(params, directions, decay)
    assert params[0].tolist() == [3.0, 4.0, 3.0, -4.0]


def test_of_complex_weights_each_part_is_spared_for_itself():
    params = [torch.tensor([complex(4.0, 4.0)])]
    shrink_where_it_agrees(params, [torch.tensor([complex(1.0, -1.0)])], 0.25)
    assert params[0].item() == complex(3.0, 4.0)


@pytest.mark.parametrize(("found_inf", "left"), [(0.0, 3.0), (1.0, 4.0)])
def test_cautious_shrinking_is_skipped_with_the_step(found_inf, left):
    params = [torch.tensor([4.0])]
    bad = [torch.tensor([float("nan") if found_inf else 1.0])]
    shrink_where_it_agrees(params, bad, 0.25, torch.tensor(found_inf))
    assert params[0].item() == left
