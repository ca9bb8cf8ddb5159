"""Whatever is done to deferred scores, the numbers are those of the layer."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.algorithms._deferred_scores import DeferredLinear, DeferredScores
from composer.errors import StateError

ROWS, LENGTH, HIDDEN, CLASSES = 3, 4, 5, 7
Use = Callable[[Tensor], Any]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def layers(bias: bool = True) -> tuple[nn.Linear, DeferredLinear, Tensor]:
    plain = nn.Linear(HIDDEN, CLASSES, bias=bias)
    return plain, DeferredLinear.like(plain), torch.randn(ROWS, LENGTH, HIDDEN, requires_grad=True)


def gradients(loss: Tensor, layer: nn.Linear, hidden: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, (hidden, *layer.parameters()))


def target() -> Tensor:
    return torch.arange(ROWS * LENGTH).view(ROWS, LENGTH) % CLASSES


IN_CHUNKS: dict[str, Use] = {
    "view": lambda s: F.cross_entropy(s.view(-1, CLASSES), target().view(-1)),
    "flatten": lambda s: F.cross_entropy(s.flatten(0, 1), target().flatten()),
    "torch.flatten": lambda s: F.cross_entropy(torch.flatten(s, end_dim=1), target().flatten()),
    "reshape, wide": lambda s: F.cross_entropy(
        s.float().contiguous().reshape(ROWS * LENGTH, -1), target().flatten()
    ),
    "transpose": lambda s: F.cross_entropy(s.transpose(1, 2), target()),
    "transpose, negative": lambda s: F.cross_entropy(s.transpose(-1, -2), target()),
    "permute": lambda s: F.cross_entropy(s.permute(0, 2, 1), target()),
    "shifted": lambda s: F.cross_entropy(
        s[..., :-1, :].to(torch.float32).reshape(-1, CLASSES), target()[:, 1:].flatten()
    ),
    "shifted, short": lambda s: F.cross_entropy(s[:, :-1].flatten(0, 1), target()[:, 1:].flatten()),
    "masked": lambda s: F.cross_entropy(s[target() > 2], target()[target() > 2]),
    "one row": lambda s: F.cross_entropy(s[1], target()[1]),
    "module": lambda s: nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1)(
        s.flatten(0, 1), target().flatten()
    ),
    "each": lambda s: F.cross_entropy(s.transpose(1, 2), target(), reduction="none").sum(),
}

AS_A_WHOLE: dict[str, Use] = {
    "product": lambda s: (s * 2).square().mean(),
    "from the right": lambda s: (1 / (torch.ones(CLASSES) + s.exp())).sum(),
    "weights": lambda s: F.cross_entropy(
        s.flatten(0, 1), target().flatten(), weight=torch.arange(1.0, CLASSES + 1)
    ),
    "probabilities": lambda s: F.cross_entropy(
        s.flatten(0, 1), torch.full((ROWS * LENGTH, CLASSES), 1 / CLASSES)
    ),
    "softmax": lambda s: s.log_softmax(-1)[..., 0].sum(),
    "some classes": lambda s: s[..., :2].square().sum(),
    "one class": lambda s: s[0, 0, 3] * 2,
    "other order": lambda s: s.permute(1, 0, 2).square()[0].sum(),
    "other shape": lambda s: s.view(ROWS, -1).square().sum(),
    "list": lambda s: torch.stack([s, s]).square().sum(),
    "data": lambda s: (s - s.detach()).square().sum() + s.sum(),
    "iteration": lambda s: sum(row.square().sum() for row in s),
}


def compare(use: Use) -> None:
    plain, deferred, hidden = layers()
    expected, found = use(plain(hidden)), use(deferred(hidden))
    assert type(found) is Tensor
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        gradients(found, deferred, hidden), gradients(expected, plain, hidden)
    )


@pytest.mark.parametrize("name", IN_CHUNKS)
def test_a_loss_in_chunks_is_the_loss(name: str, caplog: pytest.LogCaptureFixture) -> None:
    compare(IN_CHUNKS[name])
    assert not caplog.records


@pytest.mark.parametrize("name", AS_A_WHOLE)
def test_anything_else_gets_the_scores_and_it_is_said(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        compare(AS_A_WHOLE[name])
    assert "computed as a whole" in caplog.text


def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    _, deferred, hidden = layers()
    for _ in range(3):
        _ = deferred(hidden) + 1
    assert len(caplog.records) == 1
    assert "for add" in caplog.text


def test_facts_are_known_without_scores() -> None:
    _, deferred, hidden = layers(bias=False)
    scores = deferred(hidden)
    assert isinstance(scores, DeferredScores)
    assert scores.shape == (ROWS, LENGTH, CLASSES)
    assert (scores.size(1), scores.ndim, scores.numel()) == (LENGTH, 3, ROWS * LENGTH * CLASSES)
    assert (scores.dtype, scores.device.type) == (torch.float32, "cpu")
    assert scores.requires_grad
    assert scores._whole is None


def test_under_autocast_they_have_its_number_format() -> None:
    plain, deferred, hidden = layers()
    with torch.autocast("cpu", torch.bfloat16):
        scores, expected = deferred(hidden), plain(hidden)
    assert scores.dtype is torch.bfloat16
    # Also where autocast is over by the time they are wanted.
    torch.testing.assert_close(scores + 0, expected + 0)


def test_evaluation_gets_scores_as_always() -> None:
    plain, deferred, hidden = layers()
    with torch.no_grad():
        assert torch.equal(deferred(hidden), plain(hidden))
    deferred.eval()
    assert type(deferred(hidden)) is Tensor


def test_gradients_find_their_way_past_the_loss_too() -> None:
    """As where a wrapper hands the outputs through a function of its own."""

    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, scores: Tensor) -> Tensor:
            return scores * 1

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return grads[0]

    compare(lambda scores: Through.apply(scores).square().sum())


def test_other_bits_are_no_other_shape() -> None:
    plain, deferred, hidden = layers()
    assert torch.equal(deferred(hidden).view(torch.int32), plain(hidden).view(torch.int32))


@pytest.mark.parametrize(
    "change",
    [lambda s: s.mul_(2), lambda s: s.__setitem__(0, 1.0), lambda s: s.__itruediv__(3)],
    ids=["method", "item", "operator"],
)
def test_a_change_in_place_is_refused(change: Use) -> None:
    _, deferred, hidden = layers()
    with pytest.raises(StateError, match="in place"):
        change(deferred(hidden))


def test_what_would_lose_gradients_is_refused() -> None:
    _, deferred, hidden = layers()
    scores = deferred(hidden)
    with torch._C.DisableTorchFunctionSubclass(), pytest.raises(StateError, match="leave Fused"):
        scores * 2
