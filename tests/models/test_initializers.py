"""Filling weights by the name of the method."""

import math

import pytest
import torch
from torch import nn

from composer.models.initializers import Initializer

WEIGHTS = ["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"]
BATCH_NORMS = ["bn_uniform", "bn_ones"]


def initialize(name: str, module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return module.apply(Initializer(name).get_initializer())


def constant(module: nn.Module, value: float = 7.0) -> nn.Module:
    """Set all parameters to one value, so that a change shows."""
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize(
    "layer", [nn.Linear(30, 20), nn.Conv2d(30, 20, 3), nn.ConvTranspose1d(9, 8, 3)]
)
def test_weights_are_those_that_torch_makes_from_the_same_seed(name, layer):
    initialize(name, layer)
    expected = torch.empty_like(layer.weight)
    torch.manual_seed(0)
    getattr(nn.init, f"{name}_")(expected)
    assert torch.equal(layer.weight, expected)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weight_initializers_leave_biases_alone(name):
    layer = initialize(name, constant(nn.Linear(3, 2)))
    assert torch.equal(layer.bias, torch.full((2,), 7.0))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(50), nn.BatchNorm2d(50), nn.BatchNorm3d(50)])
def test_bn_ones_gives_the_identity(layer):
    initialize("bn_ones", constant(layer))
    assert torch.equal(layer.weight, torch.ones(50))
    assert torch.equal(layer.bias, torch.zeros(50))


def test_bn_uniform_gives_weights_between_zero_and_one():
    layer = initialize("bn_uniform", constant(nn.BatchNorm2d(1000)))
    assert 0 <= layer.weight.min() < 0.1
    assert 0.9 < layer.weight.max() < 1
    assert torch.equal(layer.bias, torch.zeros(1000))


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_batch_normalisation_without_parameters_is_left_alone(name):
    assert initialize(name, nn.BatchNorm2d(4, affine=False)).weight is None


def test_linear_log_constant_bias_depends_on_the_number_of_outputs():
    layer = initialize("linear_log_constant_bias", constant(nn.Linear(3, 10)))
    torch.testing.assert_close(layer.bias, torch.full((10,), -math.log(10)))
    assert torch.equal(layer.weight, torch.full((10, 3), 7.0))


def test_a_linear_layer_without_bias_is_left_alone():
    assert initialize("linear_log_constant_bias", nn.Linear(3, 2, bias=False)).bias is None


@pytest.mark.parametrize("name", [*WEIGHTS, *BATCH_NORMS, "linear_log_constant_bias"])
def test_layers_of_another_kind_are_left_alone(name):
    layer = initialize(name, constant(nn.LayerNorm(4)))
    assert torch.equal(layer.weight, torch.full((4,), 7.0))
    assert torch.equal(layer.bias, torch.full((4,), 7.0))


@pytest.mark.parametrize("initializer", Initializer)
def test_every_member_has_a_function(initializer):
    assert callable(initializer.get_initializer())


def test_initialisation_is_not_recorded_for_gradients():
    layer = initialize("kaiming_normal", nn.Linear(3, 2))
    assert layer.weight.is_leaf
    assert layer.weight.requires_grad
