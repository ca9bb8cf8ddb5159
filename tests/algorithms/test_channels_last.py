import pytest
import torch
from torch import nn

from composer.algorithms.channels_last import ChannelsLast, apply_channels_last
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, conv_net


def test_convolution_weights_are_stored_channels_last() -> None:
    model = conv_net()
    apply_channels_last(model)
    assert model[4].weight.is_contiguous(memory_format=torch.channels_last)


def test_three_dimensional_convolutions_too() -> None:
    model = nn.Sequential(nn.Conv3d(2, 4, 3))
    apply_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_activations_follow() -> None:
    model = conv_net()
    apply_channels_last(model)
    features = model[:5](torch.rand(2, 3, 16, 16))
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_outputs_stay_the_same() -> None:
    model, x = conv_net().eval(), torch.rand(2, 3, 16, 16)
    before = model(x)
    apply_channels_last(model)
    torch.testing.assert_close(model(x), before)


def test_parameters_stay_the_objects_optimizers_know() -> None:
    model = conv_net()
    before = list(model.parameters())
    apply_channels_last(model)
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))


def test_a_model_without_images_is_told_so() -> None:
    with pytest.warns(NoEffectWarning, match="Sequential.*4 or 5 dimensions"):
        apply_channels_last(nn.Sequential(nn.Linear(2, 2)))


def test_the_method_converts_the_model_at_the_start() -> None:
    run = HandRun(ChannelsLast())
    run.begin()
    weights = [p for p in run.state.model.parameters() if p.ndim == 4]
    assert weights
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
