import pytest
import torch
from torch import nn

from composer.algorithms.factorize import (
    Factorize,
    FactorizedConv2d,
    FactorizedLinear,
    apply_factorization,
    factorize_conv2d,
    factorize_matrix,
    factorizing_could_speedup,
)
from composer.core.event import Event
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier


def low_rank(rows: int, columns: int, rank: int) -> torch.Tensor:
    return torch.rand(rows, rank) @ torch.rand(rank, columns)


@pytest.mark.parametrize(
    ("in_features", "out_features", "largest"),
    # r (m + n) < m n: 64 * 64 / 128 = 32, so 31; 6 * 3 / 9 = 2, so 1; 5 * 3 / 8 = 1.875, so 1.
    [(64, 64, 31), (6, 3, 1), (5, 3, 1)],
)
def test_a_rank_pays_where_two_layers_multiply_less(
    in_features: int, out_features: int, largest: int
) -> None:
    # Two thin layers multiply rank * (in + out) numbers, one layer in * out.
    assert FactorizedLinear.max_allowed_latent_channels(in_features, out_features) == largest
    whole = in_features * out_features
    assert largest * (in_features + out_features) < whole
    assert (largest + 1) * (in_features + out_features) >= whole


def test_the_kernel_counts_for_convolutions() -> None:
    # 3x3 kernel on 8 channels: fan-in 72; 72 * 16 / 88 = 13.09, so 13.
    assert FactorizedConv2d.max_allowed_latent_features(8, 16, 3) == 13
    assert factorizing_could_speedup(nn.Conv2d(8, 16, 3), 13)
    assert not factorizing_could_speedup(nn.Conv2d(8, 16, 3), 14)
    assert not factorizing_could_speedup(nn.Conv2d(8, 16, 3, groups=2), 1)
    assert factorizing_could_speedup(FactorizedConv2d(8, 16, 3), 13)
    with pytest.raises(ConfigError, match="BatchNorm2d cannot be factorized"):
        factorizing_could_speedup(nn.BatchNorm2d(2), 1)


def test_a_map_of_low_rank_is_found_exactly() -> None:
    weights, bias, inputs = low_rank(6, 5, 2), torch.rand(5), torch.rand(40, 6)
    found = factorize_matrix(inputs, inputs @ weights + bias, weights, bias=bias, rank=2)
    assert (found.Wa.shape, found.Wb.shape, found.rank) == ((6, 2), (2, 5), 2)
    torch.testing.assert_close(found.Wa @ found.Wb, weights)
    torch.testing.assert_close(found.bias, bias)
    assert found.nmse < 1e-10


def test_without_iterations_it_is_the_truncated_decomposition() -> None:
    # Eckart and Young 1936: the best approximation of the weights themselves.
    weights = torch.diag(torch.tensor([5.0, 2.0, 1.0]))
    found = factorize_matrix(torch.eye(3), weights, weights, rank=2, n_iters=0)
    expected = torch.diag(torch.tensor([5.0, 2.0, 0.0]))
    torch.testing.assert_close(found.Wa @ found.Wb, expected)


def test_the_data_decides_what_is_kept() -> None:
    # The weights' largest direction sees no input; the fit keeps the one that does.
    weights = torch.diag(torch.tensor([5.0, 1.0]))
    inputs = torch.tensor([[0.1, 0.0], [0.0, 2.0], [0.0, -2.0], [-0.1, 0.0]])
    plain = factorize_matrix(inputs, inputs @ weights, weights, rank=1, n_iters=0)
    fitted = factorize_matrix(inputs, inputs @ weights, weights + 0.01, rank=1, n_iters=20)
    # Error over variance: of the outputs (0.5, 2) the first alone is lost, 0.25 / (0.25 + 4).
    assert plain.nmse == pytest.approx(4 / 4.25)
    assert fitted.nmse == pytest.approx(0.25 / 4.25, rel=1e-3)


def test_more_iterations_are_never_worse() -> None:
    torch.manual_seed(0)
    inputs, weights = torch.rand(50, 8) ** 3, torch.randn(8, 6)
    errors = [
        factorize_matrix(inputs, inputs @ weights, weights, rank=3, n_iters=n).nmse
        for n in range(4)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_a_full_rank_needs_one_matrix() -> None:
    weights, inputs = torch.rand(4, 3), torch.rand(9, 4)
    found = factorize_matrix(inputs, inputs @ weights, weights, rank=3)
    assert found.Wb is None
    assert found.Wa is not None
    torch.testing.assert_close(found.Wa, weights)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}])
def test_a_convolution_of_low_rank_is_found_exactly(options: dict[str, int]) -> None:
    images = torch.rand(2, 3, 8, 8)
    weights = low_rank(6, 27, 2).reshape(6, 3, 3, 3)
    bias = torch.rand(6)
    found = factorize_conv2d(images, weights, rank=2, biasA=bias, **options)
    assert found.Wa is not None
    assert found.Wb is not None
    pair = torch.einsum("mrxy,rchw->mchw", found.Wb, found.Wa)
    torch.testing.assert_close(pair, weights, rtol=1e-4, atol=1e-5)


def test_a_linear_layer_of_lower_rank_does_the_same_where_it_can() -> None:
    layer, inputs = FactorizedLinear(12, 10, latent_features=4), torch.rand(3, 7, 12)
    layer.module1.weight.data = low_rank(10, 4, 2)
    before = layer(inputs)
    layer.set_rank(inputs, 2)
    assert layer.latent_features == 2
    assert layer.module0.out_features == 2
    torch.testing.assert_close(layer(inputs), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}]
)
def test_a_convolution_of_lower_rank_does_the_same_where_it_can(options: dict[str, object]) -> None:
    layer, images = FactorizedConv2d(8, 8, 3, 4, **options), torch.rand(2, 8, 6, 6)
    layer.module1.weight.data = low_rank(8, 4, 2).reshape(8, 4, 1, 1)
    before = layer(images)
    layer.set_rank(images, 2)
    assert layer.latent_channels == 2
    torch.testing.assert_close(layer(images), before, rtol=1e-4, atol=1e-5)


def test_a_rank_that_was_given_up_does_not_come_back() -> None:
    layer = FactorizedLinear(12, 10, latent_features=3)
    with pytest.raises(ConfigError, match="higher than the present rank 3"):
        layer.set_rank(torch.rand(20, 12), 4)


def test_large_layers_become_thin_pairs() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(64, 8))
    images, shape = torch.rand(1, 16, 4, 4), (1, 8)
    apply_factorization(model, min_channels=16, min_features=8, latent_features=2)
    assert isinstance(model[0], FactorizedConv2d)
    assert model[0].latent_channels == 4
    assert isinstance(model[2], FactorizedLinear)
    assert model[2].latent_features == 2
    assert model(images).shape == shape


def test_layers_that_are_small_or_would_not_get_cheaper_stay() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(8, 8), nn.Conv2d(4, 4, 3))
    apply_factorization(model, min_features=16, latent_features=31)
    assert [type(layer).__name__ for layer in model] == ["FactorizedLinear", "Linear", "Conv2d"]
    with pytest.warns(NoEffectWarning, match="get cheaper"):
        apply_factorization(nn.Sequential(nn.Linear(64, 64)), min_features=16, latent_features=32)


def test_a_second_call_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(64, 64))
    for _ in range(2):
        apply_factorization(model, min_features=4, latent_features=16)
    assert isinstance(model[0].module0, nn.Linear)


def test_the_optimizer_gets_the_new_weights() -> None:
    model = nn.Sequential(nn.Linear(64, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply_factorization(model, min_features=4, latent_features=16, optimizers=optimizer)
    assert set(optimizer.param_groups[0]["params"]) == set(model.parameters())


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="both False"):
        Factorize(factorize_convs=False, factorize_linears=False)
    with pytest.raises(ConfigError, match="out of range"):
        Factorize(latent_channels=0)
    with pytest.raises(ConfigError, match="neither a share"):
        apply_factorization(nn.Linear(2, 2), latent_features=2.5)
    with pytest.raises(ConfigError, match="groups"):
        FactorizedConv2d(4, 4, 3, groups=2)


def test_the_numbers_of_layers_are_logged() -> None:
    run = HandRun(Factorize(min_channels=8, min_features=4, latent_features=1), classifier())
    run.run(Event.INIT)
    assert run.memory.hyperparameters == {
        "factorize/num_conv2d_replacements": 1,
        "factorize/num_linear_replacements": 1,
    }
