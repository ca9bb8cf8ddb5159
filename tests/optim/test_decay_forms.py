"""Cautious decay, and what decay follows: by hand, in every kernel, with checkpoints."""

import math

import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, AdamW

from composer.errors import ConfigError, TrainingError
from composer.optim.decoupled_weight_decay import DecoupledAdamW, DecoupledSGDW

BOTH = [DecoupledSGDW, DecoupledAdamW]
KERNELS = [{}, {"foreach": False}, {"foreach": True}, {"fused": True}]
DECAY = 0.25


def weights():
    # One that the step makes smaller, one it makes larger, and both again on the other side of 0.
    param = torch.nn.Parameter(torch.tensor([2.0, 2.0, -2.0, -2.0]))
    param.grad = torch.tensor([1.0, -1.0, -1.0, 1.0])
    return param


def step_of(cls, lr=0.5, **arguments):
    """Return the weights after a step with decay, less those after the same step without."""
    moved = []
    for decay in (DECAY, 0.0):
        param = weights()
        optimizer = cls([param], lr=0.5, weight_decay=decay, **arguments)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        moved.append(param.detach())
    return (moved[0] - moved[1]).tolist()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (DecoupledSGDW, {}),
        (DecoupledSGDW, {"momentum": 0.9}),
        (DecoupledSGDW, {"momentum": 0.9, "nesterov": True}),
        (DecoupledAdamW, {}),
        (DecoupledAdamW, {"amsgrad": True}),
    ],
)
def test_cautious_decay_spares_weights_that_the_step_makes_larger(cls, arguments, kernel):
    lost = step_of(cls, cautious=True, **arguments, **kernel)
    assert lost == pytest.approx([-0.5, 0.0, 0.5, 0.0], abs=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_what_counts_is_the_step_and_not_the_gradient(nesterov):
    param = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = DecoupledSGDW(
        [param], lr=0.0, momentum=0.5, weight_decay=DECAY, nesterov=nesterov, cautious=True,
        decay_follows="nothing",
    )  # fmt: skip
    param.grad = torch.tensor([4.0])
    optimizer.step()
    assert param.item() == 1.5
    # Momentum 4 * 0.5 - 1 = 1 makes it smaller still, although the gradient points the other way;
    # looking ahead, -1 + 0.5 * 1 does not.
    param.grad = torch.tensor([-1.0])
    optimizer.step()
    assert param.item() == (1.5 if nesterov else 1.125)


def test_adams_first_moment_counts_and_not_the_gradient():
    param = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = DecoupledAdamW(
        [param], lr=0.0, betas=(0.5, 0.9), weight_decay=DECAY, cautious=True,
        decay_follows="nothing",
    )  # fmt: skip
    for grad, left in ((4.0, 1.5), (-1.0, 1.125), (-3.0, 1.125)):  # moments 2, 0.5, -1.25
        param.grad = torch.tensor([grad])
        optimizer.step()
        assert param.item() == left


@pytest.mark.parametrize("cls", BOTH)
def test_decay_that_follows_nothing_stays_when_the_rate_falls(cls):
    assert step_of(cls, lr=0.125)[0] == pytest.approx(-0.125)  # a quarter of the decay
    assert step_of(cls, lr=0.125, decay_follows="nothing")[0] == pytest.approx(-0.5)
    assert step_of(cls, lr=0.0, decay_follows="nothing")[0] == pytest.approx(-0.5)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_decay_that_follows_gradients_is_divided_by_the_root_of_their_mean_square(kernel):
    # Second moments after the first step are g^2, bias corrected: 1 for both tensors here, of which
    # the second has gradients of 0 and 2: the mean is (4 * 1 + 2 * 2) / 6.
    params = [weights(), torch.nn.Parameter(torch.tensor([2.0, 2.0]))]
    params[1].grad = torch.tensor([0.0, 2.0])
    optimizer = DecoupledAdamW(
        params, lr=0.5, weight_decay=DECAY, decay_follows="gradient", **kernel
    )
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    mean_square = (4 * 1.0 + 0.0 + 4.0) / 6
    kept = 1 - DECAY / 2 / math.sqrt(mean_square)
    assert params[1][0].item() == pytest.approx(2.0 * kept)
    # Then the moments are kept for a share: v = 0.95 * (0.05 * g^2) + 0.05 * g'^2.
    before = params[1][0].item()
    for param in params:
        param.grad = 3 * param.grad
    optimizer.step()
    mean_square *= (0.95 * 0.05 + 0.05 * 9) / (1 - 0.95**2)
    kept = 1 - DECAY / 2 / math.sqrt(mean_square)
    assert params[1][0].item() == pytest.approx(before * kept)


def test_decay_that_follows_gradients_refuses_sharded_ones():
    param = weights()
    param.grad.device_mesh = None
    optimizer = DecoupledAdamW([param], weight_decay=DECAY, decay_follows="gradient")
    with pytest.raises(TrainingError, match="sharded"):
        optimizer.step()


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("wish", ["gradients", None])
def test_decay_that_follows_something_else_is_refused(cls, wish):
    with pytest.raises(ConfigError, match="decay_follows"):
        cls([weights()], lr=0.1, decay_follows=wish)
    with pytest.raises(ConfigError, match="decay_follows"):
        cls([{"params": [weights()], "decay_follows": wish}], lr=0.1)


def test_sgd_has_no_second_moments_to_follow():
    with pytest.raises(ConfigError, match="decay_follows"):
        DecoupledSGDW([weights()], lr=0.1, decay_follows="gradient")


@pytest.mark.parametrize("cls", BOTH)
def test_groups_have_their_own_form_of_decay(cls):
    first, second, third = weights(), weights(), weights()
    optimizer = cls(
        [{"params": [first], "cautious": False}, {"params": [second]}],
        lr=1e-9, weight_decay=DECAY, cautious=True,
    )  # fmt: skip
    optimizer.add_param_group({"params": [third]})
    optimizer.step()
    assert first.tolist() == pytest.approx([1.5, 1.5, -1.5, -1.5])
    assert second.tolist() == third.tolist() == pytest.approx([1.5, 2.0, -1.5, -2.0])


@pytest.mark.parametrize("found_inf", [False, True])
@pytest.mark.parametrize("cls", BOTH)
def test_with_a_gradient_scaler_the_true_gradients_count(cls, found_inf):
    def stepped(scale):
        param = weights()
        form = {"cautious": True}
        if cls is DecoupledAdamW:
            form["decay_follows"] = "gradient"
        optimizer = cls([param], lr=0.5, weight_decay=DECAY, fused=True, **form)
        if scale is None:
            optimizer.step()
            return param.tolist()
        scaler = GradScaler("cpu", init_scale=scale)
        scaler.scale(torch.zeros(()))
        param.grad *= scale
        if found_inf:
            param.grad[0] = math.inf
        scaler.step(optimizer)
        return param.tolist()

    wanted = weights().tolist() if found_inf else stepped(None)
    assert stepped(64.0) == pytest.approx(wanted)


@pytest.mark.parametrize("cls", BOTH)
def test_the_form_of_decay_is_in_the_state(cls):
    param, twin = weights(), weights()
    first = cls([param], lr=0.1, weight_decay=DECAY, cautious=True, decay_follows="nothing")
    second = cls([twin], lr=0.1, weight_decay=DECAY)
    second.load_state_dict(first.state_dict())
    for optimizer in (first, second):
        optimizer.step()
    assert torch.equal(param, twin)


@pytest.mark.parametrize(("cls", "base"), [(DecoupledSGDW, SGD), (DecoupledAdamW, AdamW)])
def test_a_state_without_a_form_takes_the_constructors(cls, base):
    optimizer = cls([weights()], lr=0.1, cautious=True, decay_follows="nothing")
    optimizer.load_state_dict(base([weights()], lr=0.1).state_dict())
    group = optimizer.param_groups[0]
    assert (group["cautious"], group["decay_follows"]) == (True, "nothing")
