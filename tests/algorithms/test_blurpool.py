import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from composer.algorithms.blurpool import (
    BlurConv2d,
    BlurMaxPool2d,
    BlurPool,
    BlurPool2d,
    apply_blurpool,
    blur_2d,
    blurmax_pool2d,
)
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier, conv_net


def test_the_blur_is_the_triangle_filter() -> None:
    # Zhang 2019, section 3.2: Triangle-3, [1 2 1] outer [1 2 1] over 16; seen through one pixel.
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 16.0
    expected = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
    blurred = blur_2d(x)[0, 0]
    assert torch.equal(blurred[1:4, 1:4], expected)
    assert blurred.sum() == 16


def test_each_channel_is_blurred_by_itself() -> None:
    x = torch.rand(2, 3, 6, 6)
    apart = torch.cat([blur_2d(x[:, [c]]) for c in range(3)], dim=1)
    torch.testing.assert_close(blur_2d(x), apart)


def test_a_stride_keeps_every_second_blurred_pixel() -> None:
    x = torch.rand(1, 2, 7, 8)
    torch.testing.assert_close(blur_2d(x, stride=2), blur_2d(x)[:, :, ::2, ::2])


def test_another_filter_can_be_given() -> None:
    x = torch.rand(1, 2, 4, 4)
    shift = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    shifted = blur_2d(x, filter=shift)
    assert torch.equal(shifted[..., :-1], x[..., 1:])
    with pytest.raises(ConfigError, match="odd sides"):
        blur_2d(x, filter=torch.ones(2, 3))


def test_max_pooling_is_dense_maximum_then_blur() -> None:
    # Zhang 2019, (5): MaxBlurPool(k, s) = Subsample(s) o Blur o Max(k), stride 1.
    x = torch.rand(1, 2, 8, 8)
    expected = blur_2d(F.max_pool2d(x, 3, stride=1, padding=1))[:, :, ::2, ::2]
    torch.testing.assert_close(blurmax_pool2d(x, 3, stride=2, padding=1), expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("side", [7, 8, 9, 10, 11])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(2, 2, 0, 1), (3, 2, 1, 1), (3, 2, 0, 1), (3, 3, 1, 1), (2, 3, 0, 1), (3, 2, 1, 2)],
)
def test_pooled_images_have_the_size_of_plain_pooling(
    kernel: int, stride: int, padding: int, dilation: int, side: int, ceil_mode: bool
) -> None:
    plain = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    x = torch.rand(1, 2, side, side)
    blurred = BlurMaxPool2d.from_maxpool2d(plain)(x)
    assert blurred.shape == plain(x).shape
    assert blurred.isfinite().all()


@pytest.mark.parametrize("blur_first", [False, True])
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 0), (5, 2), (2, 0)])
def test_convolved_images_have_the_size_of_the_convolution(
    kernel: int, padding: int, side: int, blur_first: bool
) -> None:
    conv = nn.Conv2d(4, 6, kernel, stride=2, padding=padding)
    x = torch.rand(2, 4, side, side)
    size = conv(x).shape
    assert BlurConv2d.from_conv2d(conv, blur_first=blur_first)(x).shape == size


def test_blur_first_convolves_blurred_images() -> None:
    conv, x = nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.rand(1, 2, 8, 8)
    expected = conv(blur_2d(x))
    torch.testing.assert_close(BlurConv2d.from_conv2d(conv)(x), expected)


def test_blur_last_convolves_everywhere_then_blurs() -> None:
    # Zhang 2019, (6): Conv(k, s) -> Subsample(s) o Blur o Conv(k, 1).
    conv, x = nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.rand(1, 2, 8, 8)
    dense = F.conv2d(x, conv.weight, conv.bias, stride=1, padding=1)
    expected = blur_2d(dense)[:, :, ::2, ::2]
    torch.testing.assert_close(BlurConv2d.from_conv2d(conv, blur_first=False)(x), expected)


def test_the_layers_can_be_made_directly() -> None:
    x = torch.rand(1, 4, 8, 8)
    assert BlurConv2d(4, 6, 3, stride=2, padding=1)(x).shape == (1, 6, 4, 4)
    assert BlurMaxPool2d(2)(x).shape == (1, 4, 4, 4)
    torch.testing.assert_close(BlurPool2d()(x), blur_2d(x, stride=2))


def test_strided_layers_are_replaced_and_others_stay() -> None:
    model = conv_net()
    apply_blurpool(model)
    assert isinstance(model[3], BlurMaxPool2d)
    assert isinstance(model[4], BlurConv2d)
    assert type(model[0]) is nn.Conv2d


@pytest.mark.parametrize(
    ("arguments", "classes"),
    [
        ({"replace_convs": False}, (BlurMaxPool2d, nn.Conv2d)),
        ({"replace_maxpools": False}, (nn.MaxPool2d, BlurConv2d)),
        ({"min_channels": 17}, (BlurMaxPool2d, nn.Conv2d)),
    ],
)
def test_arguments_choose_what_is_replaced(arguments: dict, classes: tuple) -> None:
    model = conv_net()
    apply_blurpool(model, **arguments)
    assert (type(model[3]), type(model[4])) == classes


def test_pooling_that_returns_indices_stays() -> None:
    model = nn.Sequential(nn.MaxPool2d(2, return_indices=True), nn.MaxPool2d(2))
    apply_blurpool(model)
    assert type(model[0]) is nn.MaxPool2d
    assert type(model[1]) is BlurMaxPool2d


def test_a_second_time_changes_nothing() -> None:
    model = conv_net()
    apply_blurpool(model)
    before = list(model.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply_blurpool(model)
    assert list(model.modules()) == before


def test_weights_stay_where_the_optimizer_knows_them() -> None:
    model = conv_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight = model[4].weight
    apply_blurpool(model, optimizers=optimizer)
    assert model[4].conv.weight is weight
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert known == {id(p) for p in model.parameters()}


def test_filters_are_no_part_of_the_weights_and_old_ones_are_read_over() -> None:
    model = conv_net()
    apply_blurpool(model)
    names = set(model.state_dict())
    assert {"4.conv.weight", "4.conv.bias"} <= names
    assert not any("filter" in name for name in names)
    old = {**model.state_dict(), "3.filt2d": torch.zeros(1), "4.blur_filter": torch.zeros(1)}
    model.load_state_dict(old, strict=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_number_format_and_memory_order_stay(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 8, 3, stride=2, padding=1))
    model = model.to(dtype=dtype, memory_format=memory_format)
    apply_blurpool(model)
    x = torch.rand(2, 16, 16, 16, dtype=dtype).contiguous(memory_format=memory_format)
    pooled = model[0](x)
    for y in (pooled, model(x)):
        assert y.dtype is dtype
        assert y.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
def test_blurs_and_their_gradients_are_those_of_float64_within_rounding(
    dtype: torch.dtype, memory_format: torch.memory_format, stride: int | tuple[int, int]
) -> None:
    x = torch.rand(2, 3, 9, 6).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    exact = x.detach().double().requires_grad_()
    blurred, expected = blur_2d(x, stride=stride), blur_2d(exact, stride=stride)
    slope = torch.rand_like(blurred)
    blurred.backward(slope)
    expected.backward(slope.double())
    torch.testing.assert_close(blurred, expected.to(dtype))
    assert x.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(x.grad, exact.grad.to(dtype))


def test_autocast_does_not_change_the_format_of_pooled_images() -> None:
    pool = BlurMaxPool2d(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert pool(torch.rand(1, 2, 4, 4)).dtype is torch.float32


def test_a_new_filter_can_be_filled_in_after_the_meta_device() -> None:
    with torch.device("meta"):
        pool = BlurMaxPool2d(2)
    pool.to_empty(device="cpu")
    pool.reset_parameters()
    assert pool.filter.sum() == 1


def test_a_forward_pass_changes_no_attribute() -> None:
    model = conv_net().eval()
    apply_blurpool(model)
    layers = [m for m in model.modules() if isinstance(m, BlurConv2d | BlurMaxPool2d)]
    before = [copy.copy(layer.__dict__) for layer in layers]
    model(torch.rand(2, 3, 16, 16))
    assert [layer.__dict__ for layer in layers] == before


def test_the_blurred_model_is_one_graph() -> None:
    model = conv_net().eval()
    apply_blurpool(model)
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(model, backend=count, fullgraph=True)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x)
    assert len(graphs) == 1


def test_a_blurred_model_in_half_precision_can_be_exported() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 8, 3, stride=2)).bfloat16().eval()
    apply_blurpool(model)
    x = torch.rand(2, 16, 9, 11, dtype=torch.bfloat16)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_nothing_to_replace_is_told_with_what_was_looked_for() -> None:
    with pytest.warns(NoEffectWarning, match="at least 16 input channels and MaxPool2d"):
        apply_blurpool(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Linear(2, 2)))


@pytest.mark.parametrize(
    "arguments",
    [{"replace_convs": False, "replace_maxpools": False}, {"min_channels": -1}],
)
def test_bad_arguments_are_refused_when_made(arguments: dict) -> None:
    with pytest.raises(ConfigError):
        BlurPool(**arguments)


def test_the_method_replaces_at_the_start_and_logs_how_many() -> None:
    run = HandRun(BlurPool(), classifier())
    run.begin()
    assert run.memory.hyperparameters == {
        "blurpool/num_blurpool_layers": 1,
        "blurpool/num_blurconv_layers": 1,
    }
    assert BlurPool.required_on_load()
