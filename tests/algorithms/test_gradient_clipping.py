import pytest
import torch
from torch import nn

from composer.algorithms.gradient_clipping import GradientClipping, apply_gradient_clipping
from composer.errors import ConfigError
from tests.algorithms._runs import HandRun, image_batch


def parameter(values: list, gradient: list | None) -> nn.Parameter:
    made = nn.Parameter(torch.tensor(values, dtype=torch.float32))
    made.grad = None if gradient is None else torch.tensor(gradient, dtype=torch.float32)
    return made


def test_norm_scales_all_gradients_together() -> None:
    # Pascanu et al. 2012, algorithm 1: g * threshold / |g| where |g| > threshold. |(3, 4)| = 5.
    a, b = parameter([0.0], [3.0]), parameter([0.0], [4.0])
    apply_gradient_clipping([a, b], "norm", 1.0)
    torch.testing.assert_close(torch.cat([a.grad, b.grad]), torch.tensor([0.6, 0.8]))


def test_a_small_norm_is_left_alone() -> None:
    a = parameter([0.0, 0.0], [3.0, 4.0])
    apply_gradient_clipping([a], "norm", 5.1)
    assert torch.equal(a.grad, torch.tensor([3.0, 4.0]))


def test_value_limits_each_entry() -> None:
    a = parameter([0.0] * 3, [-7.0, 0.5, 2.0])
    apply_gradient_clipping([a], "value", 1.5)
    assert torch.equal(a.grad, torch.tensor([-1.5, 0.5, 1.5]))


def test_adaptive_limits_each_row_of_a_linear_layer() -> None:
    # Brock et al. 2021, (3), threshold 0.1. Row 0: |W| = 5, |G| = 10 > 0.5, so G * 0.5 / 10.
    # Row 1: |W| = 10, |G| = 0.5 <= 1, so as it is.
    a = parameter([[3.0, 4.0], [6.0, 8.0]], [[6.0, 8.0], [0.3, 0.4]])
    apply_gradient_clipping([a], "adaptive", 0.1)
    torch.testing.assert_close(a.grad, torch.tensor([[0.3, 0.4], [0.3, 0.4]]))


def test_adaptive_takes_a_filter_as_one_unit() -> None:
    # Filter 0 has 4 weights of 1: |W| = 2; 4 gradients of 5: |G| = 10; threshold 0.5: limit 1.
    weights = [[[[1.0, 1.0], [1.0, 1.0]]], [[[2.0, 2.0], [2.0, 2.0]]]]
    gradient = [[[[5.0, 5.0], [5.0, 5.0]]], [[[0.1, 0.1], [0.1, 0.1]]]]
    a = parameter(weights, gradient)
    apply_gradient_clipping([a], "adaptive", 0.5)
    torch.testing.assert_close(a.grad[0], torch.full((1, 2, 2), 0.5))
    torch.testing.assert_close(a.grad[1], torch.full((1, 2, 2), 0.1))


def test_adaptive_takes_a_bias_as_one_unit() -> None:
    # |W| = 5, |G| = 50, threshold 0.2: limit 1.
    a = parameter([3.0, 4.0], [30.0, 40.0])
    apply_gradient_clipping([a], "adaptive", 0.2)
    torch.testing.assert_close(a.grad, torch.tensor([0.6, 0.8]))


def test_adaptive_lets_weights_leave_zero() -> None:
    # |W|* = max(|W|, 1e-3), so a zero row with |G| = 5 keeps a gradient of norm 0.1 * 1e-3.
    a = parameter([[0.0, 0.0]], [[3.0, 4.0]])
    apply_gradient_clipping([a], "adaptive", 0.1)
    torch.testing.assert_close(a.grad, torch.tensor([[0.6e-4, 0.8e-4]]))


def test_adaptive_leaves_zero_gradients_zero() -> None:
    a = parameter([[1.0, 1.0]], [[0.0, 0.0]])
    apply_gradient_clipping([a], "adaptive", 0.1)
    assert torch.equal(a.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("kind", ["norm", "value", "adaptive"])
def test_parameters_without_gradient_are_left_out(kind: str) -> None:
    a, b = parameter([0.0], None), parameter([1.0], [9.0])
    apply_gradient_clipping([a, b], kind, 0.5)
    assert a.grad is None
    assert b.grad.abs() <= 0.5
    apply_gradient_clipping([a], kind, 0.5)
    assert a.grad is None


@pytest.mark.parametrize("kind", ["norm", "value", "adaptive"])
def test_number_formats_may_be_mixed(kind: str) -> None:
    a, b = parameter([1.0], [9.0]), parameter([1.0], [9.0])
    b.data, b.grad = b.data.bfloat16(), None
    b.grad = torch.tensor([9.0], dtype=torch.bfloat16)
    apply_gradient_clipping([a, b], kind, 0.5)
    assert a.grad.dtype is torch.float32
    assert b.grad.dtype is torch.bfloat16
    assert a.grad <= 0.5
    assert b.grad <= 0.5


def test_adaptive_is_refused_on_a_sharded_model() -> None:
    with pytest.raises(ConfigError, match="sharded"):
        apply_gradient_clipping(nn.Linear(1, 1), "adaptive", 0.1, fsdp_enabled=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nrom", 1.0), "Did you mean 'norm'"),
        (("norm", 0.0), "clipping_threshold=0.0"),
        (("norm", -1), "clipping_threshold=-1"),
        (("norm", "1"), "must be a number"),
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: tuple, message: str) -> None:
    with pytest.raises((ConfigError, TypeError), match=message):
        GradientClipping(*arguments)


def test_the_method_clips_before_the_update() -> None:
    run = HandRun(GradientClipping("norm", 1e-3), lr=1.0)
    run.begin()
    before = [p.detach().clone() for p in run.state.model.parameters()]
    run.step(image_batch())
    moves = [p.detach() - b for p, b in zip(run.state.model.parameters(), before, strict=True)]
    # One plain SGD step of learning rate 1 moves the weights by just the clipped gradient.
    total = torch.linalg.vector_norm(torch.stack([m.norm() for m in moves]))
    torch.testing.assert_close(total, torch.tensor(1e-3), rtol=1e-2, atol=0)
