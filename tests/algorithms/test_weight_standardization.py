import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from composer.algorithms.weight_standardization import (
    WeightStandardization,
    apply_weight_standardization,
)
from composer.core.event import Event
from composer.errors import ArgumentTypeError, ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier, conv_net


def test_each_filter_gets_mean_zero_and_variance_one() -> None:
    # Qiao et al. 2019, (8) and (9): (W - mean) / sqrt(var + eps) over the I weights of a filter.
    # Filter 1: 1 2 3 4, mean 2.5, variance (2.25 + 0.25) / 2 = 1.25. Filter 2 is filter 1 times 10.
    conv = nn.Conv2d(1, 2, 2, bias=False)
    row = torch.tensor([1.0, 2.0, 3.0, 4.0])
    conv.weight.data = torch.stack([row, 10 * row]).reshape(2, 1, 2, 2)
    apply_weight_standardization(nn.Sequential(conv))
    expected = (row - 2.5) / 1.25**0.5
    torch.testing.assert_close(conv.weight.reshape(2, 4), torch.stack([expected, expected]))


def test_the_convolution_uses_the_standardized_weights_and_its_bias() -> None:
    conv, images = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 5, 5)
    raw = conv.weight.detach().clone()
    apply_weight_standardization(nn.Sequential(conv))
    flat = raw.flatten(1)
    weight = (flat - flat.mean(1, keepdim=True)) / flat.std(1, correction=0, keepdim=True)
    expected = F.conv2d(images, weight.reshape(raw.shape), conv.bias)
    torch.testing.assert_close(conv(images), expected)


def test_scale_and_shift_of_a_filter_get_no_gradient() -> None:
    conv = nn.Conv2d(2, 3, 3)
    apply_weight_standardization(nn.Sequential(conv))
    conv(torch.rand(1, 2, 4, 4)).square().sum().backward()
    raw = conv.parametrizations.weight.original
    assert raw.grad is not None
    shift = raw.grad.flatten(1).sum(1)
    scale = (raw.grad * raw).flatten(1).sum(1)
    torch.testing.assert_close(shift, torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scale, torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_convolutions_of_every_dimension_are_standardized(kind: type[nn.Conv2d]) -> None:
    model = nn.Sequential(kind(2, 2, 3), nn.Linear(2, 2))
    assert apply_weight_standardization(model) == 1
    weight = model[0].weight
    torch.testing.assert_close(weight.flatten(1).mean(1), torch.zeros(2), atol=1e-6, rtol=0)


def test_the_last_convolutions_can_be_left_alone() -> None:
    model = conv_net()
    assert apply_weight_standardization(model, n_last_layers_ignore=1) == 1
    assert parametrize.is_parametrized(model[0])
    assert not parametrize.is_parametrized(model[4])


def test_a_second_call_changes_nothing() -> None:
    model = conv_net()
    apply_weight_standardization(model)
    names = list(model.state_dict())
    apply_weight_standardization(model)
    assert list(model.state_dict()) == names


def test_parameters_stay_those_that_the_optimizer_has() -> None:
    model = conv_net()
    before = set(model.parameters())
    apply_weight_standardization(model)
    assert set(model.parameters()) == before


def test_a_copy_has_weights_of_its_own() -> None:
    model = conv_net()
    apply_weight_standardization(model)
    again = copy.deepcopy(model)
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(again(images), model(images))
    assert not set(again.parameters()) & set(model.parameters())


def test_a_model_without_convolutions_is_named() -> None:
    with pytest.warns(NoEffectWarning, match="Linear.*looked for Conv1d, Conv2d and Conv3d"):
        apply_weight_standardization(nn.Linear(2, 2))
    with pytest.warns(NoEffectWarning, match="before the last 2"):
        apply_weight_standardization(conv_net(), n_last_layers_ignore=2)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_last_layers_ignore=-1 is out of range"):
        WeightStandardization(n_last_layers_ignore=-1)
    with pytest.raises(ArgumentTypeError, match="whole number"):
        apply_weight_standardization(conv_net(), n_last_layers_ignore=0.5)  # pyright: ignore


def test_the_number_of_layers_is_logged() -> None:
    run = HandRun(WeightStandardization(), classifier())
    run.run(Event.INIT)
    assert run.memory.hyperparameters == {"weight_standardization/num_layers": 2}
