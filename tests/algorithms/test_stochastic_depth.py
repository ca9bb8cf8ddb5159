import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from composer.algorithms._stochastic_depth_layers import (
    StochasticBlock,
    StochasticLayer,
    StochasticResNetBlock,
    make_resnet_bottleneck_stochastic,
)
from composer.algorithms.stochastic_depth import (
    BlockStochasticModule,
    StochasticDepth,
    apply_stochastic_depth,
)
from composer.core.event import Event
from composer.core.units import Time
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier


class Doubling(nn.Module):
    """``x + x``."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x


class WithWeights(nn.Module):
    """Returns something beside, as attention layers do."""

    def forward(self, x: Tensor, *, by: float = 1.0) -> tuple[Tensor, Tensor]:
        return x + by * x, torch.ones(1)


class Bottleneck(nn.Module):
    """The block as torchvision writes it."""

    def __init__(self, channels: int = 4, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def main(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.main(x) + shortcut)


def resnet(num_blocks: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [Bottleneck(downsample=nn.Conv2d(4, 4, 1)), *(Bottleneck() for _ in range(3))]
    return nn.Sequential(nn.Conv2d(3, 4, 1), *blocks[:num_blocks], nn.Flatten(), nn.LazyLinear(4))


def rates(model: nn.Module) -> list[float]:
    return [each.drop_rate for each in model.modules() if isinstance(each, StochasticLayer)]


# Rates.


def test_linear_rates_grow_to_the_last_block() -> None:
    model = apply_stochastic_depth(resnet(), "ResNetBottleneck", drop_rate=0.4)
    assert rates(model) == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_uniform_rates_are_the_same_everywhere() -> None:
    model = apply_stochastic_depth(resnet(), "Bottleneck", "sample", 0.3, "uniform")
    assert rates(model) == [0.3] * 4


def test_one_block_gets_the_rate_of_its_place() -> None:
    layer = make_resnet_bottleneck_stochastic(Bottleneck(), 0, 4, 0.8, "linear", "block")
    assert layer.drop_rate == pytest.approx(0.2)


# What a block computes.


def whole(drop_rate: float) -> nn.Module:
    return StochasticBlock(Doubling(), drop_rate, "block")


def in_parts(drop_rate: float) -> nn.Module:
    return BlockStochasticModule(nn.Identity(), drop_rate=drop_rate)


@pytest.mark.parametrize("make", [whole, in_parts])
def test_a_block_left_out_is_its_shortcut_and_one_that_is_not_is_itself(make: Any) -> None:
    x = torch.rand(2, 3)
    assert torch.equal(make(1.0)(x), x)
    assert torch.equal(make(0.0)(x), 2 * x)


def test_in_evaluation_the_main_path_counts_by_its_probability() -> None:
    # x + (1 - 0.25) * x
    x = torch.ones(2, 3)
    by_sample = StochasticBlock(Doubling(), 0.25, "sample")
    for layer in (whole(0.25), in_parts(0.25), by_sample):
        assert torch.equal(layer.eval()(x), 1.75 * x)


def test_by_sample_some_are_left_out_and_others_not() -> None:
    torch.manual_seed(0)
    y = StochasticBlock(Doubling(), 0.25, "sample")(torch.ones(4000, 2))
    assert torch.equal(y[:, 0], y[:, 1])
    assert set(y[:, 0].tolist()) == {1.0, 2.0}
    # Standard error of the share: sqrt(0.25 * 0.75 / 4000) = 0.007.
    assert (y[:, 0] == 1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_blocks_are_left_out_as_often_as_the_rate_says() -> None:
    torch.manual_seed(0)
    layer = StochasticBlock(Doubling(), 0.25, "block")
    seen = [layer(torch.ones(1, 1)).item() for _ in range(2000)]
    assert seen.count(1.0) / 2000 == pytest.approx(0.25, abs=0.04)


def test_a_resnet_block_scales_its_main_path_before_the_sum() -> None:
    block, x = Bottleneck().eval(), torch.randn(2, 4, 5, 5)
    expected = torch.relu(x + 0.75 * block.main(x))
    torch.testing.assert_close(StochasticResNetBlock(block, 0.25, "block").eval()(x), expected)


def test_a_resnet_block_left_out_keeps_its_downsampling() -> None:
    block, x = Bottleneck(downsample=nn.Conv2d(4, 4, 1)), torch.randn(2, 4, 5, 5)
    got = StochasticResNetBlock(block, 1.0, "block")(x)
    assert torch.equal(got, torch.relu(block.downsample(x)))
    assert block.bn1.num_batches_tracked == 0


def test_weights_of_resnet_blocks_keep_their_names_and_stay_the_same_objects() -> None:
    model = resnet()
    before = dict(model.named_parameters())
    apply_stochastic_depth(model, "ResNetBottleneck")
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_other_outputs_are_none_where_a_block_is_left_out() -> None:
    x = torch.rand(2, 3)
    assert StochasticBlock(WithWeights(), 1.0, "block")(x, by=2.0) == (x, None)
    y, beside = StochasticBlock(WithWeights(), 0.0, "block")(x, by=2.0)
    assert torch.equal(y, 3 * x)
    assert torch.equal(beside, torch.ones(1))


def test_looking_what_a_block_returns_leaves_no_trace() -> None:
    block = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3))
    layer = StochasticBlock(block, 1.0, "block")
    torch.manual_seed(0)
    layer(torch.rand(2, 3))
    drawn = torch.rand(1)
    torch.manual_seed(0)
    torch.rand(2, 3), torch.rand(1)
    assert torch.equal(drawn, torch.rand(1))
    assert block[1].num_batches_tracked == 0
    assert block.training


@pytest.mark.parametrize("method", ["block", "sample"])
def test_a_block_that_changes_the_shape_is_refused(method: str) -> None:
    layer = StochasticBlock(nn.Linear(3, 2), 1.0, method)
    with pytest.raises(ConfigError, match="no block with an identity shortcut"):
        layer(torch.rand(1, 3))


# Which blocks.


@pytest.mark.parametrize(
    "target", ["TransformerEncoderLayer", "layers.*", nn.TransformerEncoderLayer]
)
def test_any_block_can_be_pointed_at(target: Any) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    apply_stochastic_depth(model, target, drop_rate=1.0, drop_distribution="uniform")
    assert len(rates(model)) == 3
    x = torch.rand(2, 4, 8)
    assert torch.equal(model(x), x)


def test_the_layers_of_transformers_models_can_be_left_out() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=11, n_positions=8)
    model = transformers.GPT2LMHeadModel(config).train()
    apply_stochastic_depth(model, "GPT2Block", drop_rate=1.0, drop_distribution="uniform")
    ids = torch.arange(4)[None]
    inner = model.transformer
    expected = inner.ln_f(inner.drop.eval()(inner.wte(ids) + inner.wpe(torch.arange(4))))
    assert torch.equal(model(ids, use_cache=False).logits, model.lm_head(expected))
    assert model.eval().generate(ids, max_new_tokens=2, do_sample=False).shape == (1, 6)


def test_a_second_call_changes_nothing() -> None:
    model = resnet()
    apply_stochastic_depth(model, "ResNetBottleneck")
    before = list(model.modules())
    apply_stochastic_depth(model, "ResNetBottleneck")
    assert list(model.modules()) == before


def test_nothing_to_replace_is_said() -> None:
    with pytest.warns(NoEffectWarning, match="'Bottleneck'"):
        apply_stochastic_depth(nn.Sequential(nn.Linear(1, 1)), "Bottleneck")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stochastic_method": "layer"}, "stochastic_method='layer'"),
        ({"drop_rate": 1.5}, "drop_rate=1.5"),
        ({"drop_distribution": "cosine"}, "drop_distribution='cosine'"),
        ({"drop_warmup": "10ba"}, "drop_warmup='10ba'"),
        ({"drop_warmup": 2.0}, "drop_warmup=2"),
        ({"drop_warmup": 0.5, "stochastic_method": "sample"}, "'block' only"),
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StochasticDepth("Bottleneck", **arguments)


# The method.


@pytest.mark.parametrize("warmup", [0.5, "0.5dur", Time(0.5, "dur")])
def test_rates_grow_during_the_warmup(warmup: Any) -> None:
    method = StochasticDepth("Bottleneck", "block", 0.4, drop_warmup=warmup)
    run = HandRun(method, classifier(resnet(2)), max_duration="10ba")
    run.begin()
    seen = []
    for _ in range(10):
        run.run(Event.BATCH_START)
        seen.append(rates(run.state.model)[-1])
        run.end_batch()
    assert seen == pytest.approx([0.0, 0.08, 0.16, 0.24, 0.32, *[0.4] * 5])
    assert rates(run.state.model)[0] == pytest.approx(0.2)


def test_an_evaluation_right_after_a_checkpoint_is_loaded_has_the_rates_of_the_last_batch() -> None:
    method = StochasticDepth("Bottleneck", "block", 0.4, drop_warmup=0.5)
    run = HandRun(method, classifier(resnet(2)), max_duration="10ba")
    run.begin()
    for _ in range(3):
        run.run(Event.BATCH_START)
        run.end_batch()
    again = StochasticDepth("Bottleneck", "block", 0.4, drop_warmup=0.5)
    resumed = HandRun(again, classifier(resnet(2)), max_duration="10ba")
    resumed.begin()
    again.load_state_dict(method.state_dict())
    resumed.run(Event.AFTER_LOAD)
    assert rates(resumed.state.model) == rates(run.state.model)
    assert rates(resumed.state.model)[-1] == pytest.approx(0.16)


def test_the_number_of_blocks_is_logged() -> None:
    run = HandRun(StochasticDepth("ResNetBottleneck"), classifier(resnet()))
    run.begin()
    assert run.memory.hyperparameters == {"stochastic_depth/num_stochastic_layers": 4}


def test_only_whole_blocks_leave_parameters_without_gradient() -> None:
    assert StochasticDepth("Bottleneck").find_unused_parameters
    assert not StochasticDepth("Bottleneck", "sample").find_unused_parameters


def test_copies_of_a_model_draw_by_themselves() -> None:
    model = apply_stochastic_depth(nn.Sequential(Doubling()), "Doubling", drop_rate=1.0)
    again = copy.deepcopy(model)
    again[0].drop_rate = 0.0
    assert torch.equal(model(torch.ones(1)), torch.ones(1))
    assert torch.equal(again(torch.ones(1)), 2 * torch.ones(1))
