"""Muon against its formula, worked out with a singular value decomposition and by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from composer.errors import ConfigError, TrainingError
from composer.optim.muon import Muon, orthogonalize
from composer.optim.warmup import WarmupStableDecayScheduler
from tests.trainer._runs import assert_same, classifier, fitted, loader


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def with_gradients(net: nn.Module, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    return net


@pytest.mark.parametrize("shape", [(4, 16), (16, 4), (7, 7), (3, 5, 9)])
def test_singular_values_come_close_to_one_and_directions_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    given = torch.randn(shape)
    made = orthogonalize(given)
    values = torch.linalg.svdvals(made)
    assert ((values > 0.6) & (values < 1.3)).all()
    # U of the original's decomposition diagonalises the result.
    u, _, vh = torch.linalg.svd(given, full_matrices=False)
    inner = u.mT @ made @ vh.mT
    assert (inner - torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-4


def test_a_step_is_that_of_the_formula() -> None:
    net = with_gradients(model())
    weight = net[2].weight
    before, grad = weight.detach().clone(), weight.grad.clone()
    Muon(net, lr=0.1, momentum=0.9, weight_decay=0.5).step()
    buffer = 0.1 * grad
    update = orthogonalize(0.9 * buffer + 0.1 * grad)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(8) * update
    torch.testing.assert_close(weight.detach(), expected)


def test_without_nesterov_the_momentum_itself_is_made_orthogonal() -> None:
    net = with_gradients(model())
    weight = net[2].weight
    before, grad = weight.detach().clone(), weight.grad.clone()
    Muon(net, lr=0.1, momentum=0.9, nesterov=False).step()
    expected = before - 0.1 * 0.2 * math.sqrt(8) * orthogonalize(0.1 * grad)
    torch.testing.assert_close(weight.detach(), expected)


def test_filters_of_a_convolution_are_rows_of_a_matrix() -> None:
    torch.manual_seed(0)
    net = with_gradients(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5, 2)))
    weight = net[0].weight
    before, grad = weight.detach().clone(), weight.grad.clone()
    Muon(net, lr=0.1, momentum=0.0).step()
    update = orthogonalize(grad.flatten(1)).view_as(grad)
    torch.testing.assert_close(weight.detach(), before - 0.1 * 0.2 * math.sqrt(27) * update)


def test_the_rest_is_stepped_as_torchs_adamw_does() -> None:
    ours, theirs = with_gradients(model()), with_gradients(model())
    optimizer = Muon(ours, lr=0.1, adamw_lr=0.02, weight_decay=0.3)
    other = torch.optim.AdamW(
        [theirs[0].bias, theirs[4].weight], lr=0.02, betas=(0.9, 0.95), weight_decay=0.3
    )
    for seed in range(3):
        with_gradients(ours, seed), with_gradients(theirs, seed)
        optimizer.step(), other.step()
    torch.testing.assert_close(ours[0].bias, theirs[0].bias)
    torch.testing.assert_close(ours[4].weight, theirs[4].weight)


@pytest.mark.parametrize("is_matrix", [True, False])
def test_cautious_decay_spares_weights_that_the_step_makes_larger(is_matrix: bool) -> None:
    kept, decayed = with_gradients(model()), with_gradients(model())
    Muon(kept, lr=0.1, weight_decay=0.0).step()
    Muon(decayed, lr=0.1, weight_decay=0.5, cautious=True).step()
    before = model()
    where = 2 if is_matrix else 4
    old, plain, cautious = (net[where].weight.detach() for net in (before, kept, decayed))
    shrinks = old * (old - plain) > 0
    assert shrinks.any()
    assert not shrinks.all()
    torch.testing.assert_close(cautious, torch.where(shrinks, plain - 0.05 * old, plain))


def test_matrices_of_one_shape_are_stepped_together_as_they_would_be_alone() -> None:
    torch.manual_seed(0)
    together = nn.Sequential(*[nn.Linear(6, 6, bias=False) for _ in range(4)])
    with_gradients(together)
    alone = [layer.weight.detach().clone().requires_grad_() for layer in together]
    for parameter, layer in zip(alone, together, strict=True):
        parameter.grad = layer.weight.grad.clone()
    Muon([{"params": list(together.parameters()), "is_matrix": True}], lr=0.1).step()
    for parameter, layer in zip(alone, together, strict=True):
        Muon([{"params": [parameter], "is_matrix": True}], lr=0.1).step()
        torch.testing.assert_close(layer.weight, parameter)


def test_the_split_is_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="composer"):
        optimizer = Muon(model())
    assert list(optimizer.split.matrices) == ["0.weight", "2.weight"]
    assert "4.weight (3, 8): the output layer" in caplog.text


def test_a_model_without_hidden_matrices_is_refused() -> None:
    with pytest.raises(ConfigError, match="no hidden matrix"):
        Muon(nn.Linear(3, 2))


@pytest.mark.parametrize(
    "arguments", [{"lr": -1.0}, {"momentum": 1.0}, {"weight_decay": math.nan}, {"num_steps": 0}]
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Muon(model(), **arguments)


def test_a_sparse_gradient_is_refused() -> None:
    parameter = nn.Parameter(torch.zeros(3, 3))
    parameter.grad = torch.zeros(3, 3).to_sparse()
    with pytest.raises(TrainingError, match="sparse"):
        Muon([{"params": [parameter], "is_matrix": True}]).step()


def test_it_goes_on_exactly_from_its_state() -> None:
    first, second = model(), model()
    one, two = Muon(first, lr=0.1), Muon(second, lr=0.1)
    for seed in range(4):
        with_gradients(first, seed)
        one.step()
        if seed == 1:
            second.load_state_dict(first.state_dict())
            two.load_state_dict(copy.deepcopy(one.state_dict()))
        if seed > 1:
            with_gradients(second, seed)
            two.step()
    assert_same(first.state_dict(), second.state_dict())


def test_the_trainer_schedules_both_parts() -> None:
    net = classifier()
    optimizer = Muon(net.module, lr=0.1, adamw_lr=0.01, exclude=())
    fitted(
        model=net,
        train_dataloader=loader(16),
        optimizers=optimizer,
        schedulers=WarmupStableDecayScheduler(t_warmup="1ba", t_cooldown="0.5dur"),
        max_duration="2ep",
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates[1] == pytest.approx(0.1 * rates[0])
    assert all(torch.isfinite(weight).all() for weight in net.parameters())


def test_filters_that_lie_channels_last_are_stepped_as_others_and_stay_so() -> None:
    torch.manual_seed(0)
    usual = nn.Parameter(torch.randn(6, 4, 3, 3))
    last = nn.Parameter(usual.detach().contiguous(memory_format=torch.channels_last))
    for parameter in (usual, last):
        optimizer = Muon([{"params": [parameter], "is_matrix": True}], lr=0.1)
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            grad = torch.randn(6, 4, 3, 3, generator=generator)
            parameter.grad = torch.empty_like(parameter).copy_(grad)
            optimizer.step()
    torch.testing.assert_close(last, usual)
    assert last.is_contiguous(memory_format=torch.channels_last)
