import pytest
import torch
from torch import nn

from composer.algorithms.squeeze_excite import (
    SqueezeExcite,
    SqueezeExcite2d,
    SqueezeExciteConv2d,
    apply_squeeze_excite,
)
from composer.core.event import Event
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier, conv_net


def test_channels_are_weighted_by_squeeze_and_excitation() -> None:
    # Hu et al. 2017, (2): z = mean over pixels; (3): s = sigmoid(W2 relu(W1 z)); (4): x * s.
    layer = SqueezeExcite2d(2, latent_channels=1)
    down, up = layer.pool_and_mlp[2], layer.pool_and_mlp[4]
    down.weight.data = torch.tensor([[1.0, 2.0]])
    up.weight.data = torch.tensor([[1.0], [-1.0]])
    images = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])
    # z = (2, 0.5); W1 z = 3; s = (sigmoid(3), sigmoid(-3)).
    first, second = torch.sigmoid(torch.tensor([3.0, -3.0]))
    expected = torch.stack([images[0, 0] * first, images[0, 1] * second])[None]
    torch.testing.assert_close(layer(images), expected)


def test_each_image_weighs_its_own_channels() -> None:
    layer, images = SqueezeExcite2d(4, 2), torch.rand(3, 4, 5, 5)
    apart = torch.cat([layer(image[None]) for image in images])
    torch.testing.assert_close(layer(images), apart)


@pytest.mark.parametrize(("latent", "width"), [(6, 6), (0.25, 4), (0.01, 1)])
def test_the_latent_width_is_a_number_or_a_share(latent: float, width: int) -> None:
    assert SqueezeExcite2d(16, latent).pool_and_mlp[2].out_features == width


def test_a_convolution_keeps_its_weights() -> None:
    conv = nn.Conv2d(3, 8, 3, stride=2)
    excited = SqueezeExciteConv2d.from_conv2d(conv, 0, 0.5)
    images = torch.rand(1, 3, 8, 8)
    assert excited.conv is conv
    torch.testing.assert_close(excited(images), excited.se(conv(images)))


def test_a_convolution_can_be_made_in_place() -> None:
    assert SqueezeExciteConv2d(3, 8, kernel_size=3, latent_channels=2).conv.out_channels == 8


def test_only_wide_convolutions_get_it() -> None:
    model = conv_net()
    apply_squeeze_excite(model, latent_channels=2, min_channels=8)
    assert isinstance(model[0], nn.Conv2d)
    assert isinstance(model[4], SqueezeExciteConv2d)


def test_a_second_call_changes_nothing() -> None:
    model = conv_net()
    for _ in range(2):
        apply_squeeze_excite(model, latent_channels=2, min_channels=8)
    assert isinstance(model[4].conv, nn.Conv2d)


def test_the_optimizer_gets_the_new_weights() -> None:
    model = conv_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply_squeeze_excite(model, 2, 8, optimizer)
    assert set(optimizer.param_groups[0]["params"]) == set(model.parameters())


def test_a_model_without_wide_convolutions_is_named() -> None:
    with pytest.warns(NoEffectWarning, match="Conv2d with at least 128 input and output channels"):
        apply_squeeze_excite(conv_net())


@pytest.mark.parametrize("latent", [0, -0.5, 1.5])
def test_a_latent_width_that_is_none_is_refused(latent: float) -> None:
    with pytest.raises(ConfigError, match="latent_channels"):
        SqueezeExcite(latent_channels=latent)


def test_the_number_of_layers_is_logged() -> None:
    run = HandRun(SqueezeExcite(latent_channels=2, min_channels=8), classifier())
    run.run(Event.INIT)
    assert run.memory.hyperparameters == {"squeeze_excite/num_squeeze_excite_layers": 1}
