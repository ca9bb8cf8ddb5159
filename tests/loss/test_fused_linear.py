from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck

from composer.errors import ConfigError, MissingDependencyError, TargetShapeError, UnknownNameError
from composer.loss.fused_linear import linear_cross_entropy

TOKENS, HIDDEN, CLASSES = 14, 5, 11
REDUCTIONS = ("mean", "sum", "none")


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, TOKENS // 2, HIDDEN), (CLASSES, HIDDEN), (CLASSES,))
    hidden, weight, bias = (
        torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes
    )
    target = torch.randint(CLASSES, (2, TOKENS // 2), generator=generator)
    target[0, 3] = -100
    return hidden, weight, bias, target


def plain(hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, **keywords: Any) -> Tensor:
    scores = F.linear(hidden, weight, bias).flatten(0, 1)
    return F.cross_entropy(scores, target.flatten(), **keywords)


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss.sum() * 3, of)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_values_and_gradients_are_those_of_the_two_steps(reduction: str, smoothing: float) -> None:
    *given, target = inputs()
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    fused = linear_cross_entropy(*given[:2], target, given[2], chunk_size=4, **options)
    expected = plain(*given, target, **options)
    torch.testing.assert_close(fused.flatten(), expected.flatten())
    torch.testing.assert_close(gradients(fused, *given), gradients(expected, *given))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("extras", [{}, {"label_smoothing": 0.1, "z_loss": 0.01}], ids=str)
def test_gradients_are_those_of_the_values(reduction: str, extras: dict[str, float]) -> None:
    hidden, weight, bias, target = inputs()

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear_cross_entropy(
            hidden, weight, target, bias, reduction=reduction, chunk_size=3, **extras
        )

    assert gradcheck(loss, (hidden, weight, bias))


def test_z_loss_is_the_squared_log_of_the_denominator() -> None:
    hidden, weight, bias, target = inputs()
    fused = linear_cross_entropy(hidden, weight, target, bias, z_loss=0.1, chunk_size=4)
    logs = F.linear(hidden, weight, bias).logsumexp(-1)[target != -100]
    expected = plain(hidden, weight, bias, target) + 0.1 * logs.square().mean()
    torch.testing.assert_close(fused, expected)


@pytest.mark.parametrize("chunk_size", [1, 4, TOKENS, 100])
def test_the_size_of_chunks_changes_nothing(chunk_size: int) -> None:
    hidden, weight, bias, target = inputs()
    whole = linear_cross_entropy(hidden, weight, target, bias)
    chunked = linear_cross_entropy(hidden, weight, target, bias, chunk_size=chunk_size)
    torch.testing.assert_close(chunked, whole)


def test_in_bfloat16_it_is_as_exact_as_the_two_steps() -> None:
    exact, low = inputs(), inputs(torch.bfloat16)
    target = exact[3]
    fused = linear_cross_entropy(*low[:2], target, low[2], chunk_size=4)
    theirs = plain(*low[:3], target)
    wanted = plain(*(each.double().detach().requires_grad_() for each in low[:3]), target)
    assert fused.dtype is torch.float32
    assert abs(fused.double() - wanted) <= abs(theirs.double() - wanted) + 1e-3
    for own, other in zip(gradients(fused, *low[:3]), gradients(theirs, *low[:3]), strict=True):
        assert own.dtype is torch.bfloat16
        torch.testing.assert_close(own, other, atol=0.02, rtol=0.05)


def test_under_autocast_it_computes_as_the_two_steps_do() -> None:
    hidden, weight, bias, target = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        fused = linear_cross_entropy(hidden, weight, target, bias, chunk_size=4)
        expected = plain(hidden, weight, bias, target)
    torch.testing.assert_close(fused, expected)
    for own, other in zip(
        gradients(fused, hidden, weight), gradients(expected, hidden, weight), strict=True
    ):
        assert own.dtype is torch.float32
        torch.testing.assert_close(own, other, atol=0.02, rtol=0.02)


def test_gradients_can_be_taken_twice() -> None:
    hidden, weight, bias, target = inputs()
    loss = linear_cross_entropy(hidden, weight, target, bias)
    first = torch.autograd.grad(loss, (hidden, weight), retain_graph=True)
    second = torch.autograd.grad(loss, (hidden, weight))
    torch.testing.assert_close(first, second)


def test_what_is_frozen_gets_no_gradient() -> None:
    hidden, weight, bias, target = inputs()
    linear_cross_entropy(hidden, weight.detach(), target, bias.detach()).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_a_mean_over_no_token_is_not_a_number_as_in_torch() -> None:
    hidden, weight, bias, target = inputs()
    loss = linear_cross_entropy(hidden, weight, torch.full_like(target, -100), bias)
    assert loss.isnan()


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        tensors = torch.utils._pytree.tree_leaves(found)
        self.numel = max([self.numel, *(t.numel() for t in tensors if isinstance(t, Tensor))])
        return found


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_scores_of_all_tokens_are_never_held(reduction: str) -> None:
    tokens, classes = 256, 64
    hidden = torch.randn(tokens, 8, requires_grad=True)
    weight = torch.randn(classes, 8, requires_grad=True)
    target = torch.randint(classes, (tokens,))
    with Largest() as largest:
        loss = linear_cross_entropy(hidden, weight, target, reduction=reduction, chunk_size=32)
        loss.sum().backward()
    assert largest.numel == max(tokens * 8, 32 * classes)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(TargetShapeError, match=r"\(2, 3, 4\), \(7, 5\), None, \(2, 3\)"):
        linear_cross_entropy(
            torch.rand(2, 3, 4), torch.rand(7, 5), torch.zeros(2, 3, dtype=torch.long)
        )


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"reduction": "men"}, UnknownNameError),
        ({"label_smoothing": 1.5}, ConfigError),
        ({"z_loss": -1.0}, ConfigError),
        ({"chunk_size": 0}, ConfigError),
        ({"kernel": "ligr"}, UnknownNameError),
        ({"kernel": "cut"}, MissingDependencyError),
        ({"kernel": "liger"}, MissingDependencyError),
    ],
    ids=str,
)
def test_arguments_that_cannot_work_are_refused(wrong: Any, error: type[Exception]) -> None:
    hidden, weight, bias, target = inputs()
    with pytest.raises(error):
        linear_cross_entropy(hidden, weight, target, bias, **wrong)
