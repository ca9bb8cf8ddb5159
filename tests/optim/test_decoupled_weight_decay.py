"""SGD and AdamW with decoupled decay: recorded trajectories, every kernel, torch's habits."""

import copy
import pickle

import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, AdamW
from torch.utils._python_dispatch import TorchDispatchMode

from composer.optim.decoupled_weight_decay import DecoupledAdamW, DecoupledSGDW

BOTH = [DecoupledSGDW, DecoupledAdamW]
KERNELS = [{}, {"foreach": False}, {"foreach": True}, {"fused": True}]

# Recorded from Composer 0.33: three weights from [1, -2, 3], gradient 2p + i [.1, .2, -.3] and
# lr = .1 (1 - i/8) at step i = 0, 1, 2, 3; float64.
SGDW = [
    [0.79, -1.58, 2.37],
    [0.4785875, -0.992175, 1.4882625],
    [0.1533099687, -0.4231074375, 0.6346611562],
    [-0.1268280584, 0.0161451012, -0.0242176518],
]
SGDW_NESTEROV = [
    [0.61, -1.22, 1.83],
    [0.2434625, -0.553425, 0.8301375],
    [-0.0457902813, -0.0937681875, 0.1406522812],
    [-0.2471844783, 0.1597070895, -0.2395606342],
]
ADAMW = [
    [0.8900000005, -1.8800000002, 2.8700000002],
    [0.7948274225, -1.7763355902, 2.7576079531],
    [0.7140933954, -1.6886838012, 2.6624411953],
    [0.6474288962, -1.6167042135, 2.5841233509],
]


def trajectory(make, split=False):
    start = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    push = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64)
    params = [start.clone()] if not split else [start[:1].clone(), start[1:].clone()]
    pushes = [push] if not split else [push[:1], push[1:]]
    optimizer = make(params)
    found = []
    for i in range(4):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - i / 8)
        for param, shift in zip(params, pushes, strict=True):
            param.grad = 2 * param + i * shift
        optimizer.step()
        found.append(torch.cat(params).tolist())
    return found


@pytest.mark.parametrize("split", [False, True], ids=["one tensor", "two tensors"])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize(
    ("cls", "arguments", "recorded"),
    [
        (DecoupledSGDW, {"momentum": 0.9}, SGDW),
        (DecoupledSGDW, {"momentum": 0.9, "nesterov": True}, SGDW_NESTEROV),
        (DecoupledAdamW, {}, ADAMW),
        (DecoupledAdamW, {"amsgrad": True}, ADAMW),
    ],
)
def test_every_kernel_follows_the_recorded_trajectory(cls, arguments, recorded, kernel, split):
    found = trajectory(lambda p: cls(p, lr=0.1, weight_decay=1e-2, **arguments, **kernel), split)
    for step, expected in zip(found, recorded, strict=True):
        assert step == pytest.approx(expected, abs=6e-11)


@pytest.mark.parametrize("cls", BOTH)
def test_without_decay_and_schedule_it_is_torchs_optimizer(cls):
    base, arguments = (SGD, {"momentum": 0.9}) if cls is DecoupledSGDW else (AdamW, {})
    ours = trajectory(lambda p: cls(p, lr=0.1, weight_decay=0, **arguments))
    if base is AdamW:
        arguments = {"betas": (0.9, 0.95)}
    torchs = trajectory(lambda p: base(p, lr=0.1, weight_decay=0, **arguments))
    assert ours == [pytest.approx(step) for step in torchs]


def weight(*values, grad=0.0):
    param = torch.nn.Parameter(torch.tensor(values or (1.0, 2.0)))
    param.grad = torch.full_like(param, grad)
    return param


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("cls", BOTH)
def test_decay_follows_the_schedule_and_not_the_rate(cls, kernel):
    param = weight(1.0)
    optimizer = cls([param], lr=0.001, weight_decay=0.5, **kernel)
    optimizer.param_groups[0]["lr"] = 0.0005
    optimizer.step()
    assert param.item() == pytest.approx(0.75)


@pytest.mark.parametrize("cls", BOTH)
def test_a_rate_of_zero_from_the_start_means_full_decay(cls):
    param = weight(1.0)
    cls([param], lr=0.0, weight_decay=0.5).step()
    assert param.item() == pytest.approx(0.5)


@pytest.mark.parametrize("cls", BOTH)
def test_groups_have_their_own_rate_and_decay(cls):
    first, second = weight(1.0), weight(1.0)
    groups = [{"params": [first]}, {"params": [second], "lr": 0.2, "weight_decay": 0.5}]
    optimizer = cls(groups, lr=0.1, weight_decay=0.0)
    optimizer.param_groups[1]["lr"] = 0.1
    optimizer.step()
    assert (first.item(), second.item()) == (1.0, pytest.approx(0.75))


@pytest.mark.parametrize("cls", BOTH)
def test_parameters_without_a_gradient_stay(cls):
    param = weight(1.0)
    param.grad = None
    optimizer = cls([param], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert param.item() == 1.0
    assert not optimizer.state


@pytest.mark.parametrize("dampening", [0, 0.5])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_a_parameter_that_joins_late_gets_its_own_momentum(kernel, dampening):
    early, late = weight(1.0, grad=1.0), weight(1.0, grad=1.0)
    late.grad = None
    optimizer = DecoupledSGDW([early, late], lr=0.1, momentum=0.5, dampening=dampening, **kernel)
    optimizer.step()
    late.grad = torch.ones_like(late)
    optimizer.step()
    second = 0.5 + (1 - dampening)
    assert (early.item(), late.item()) == (pytest.approx(0.9 - 0.1 * second), pytest.approx(0.9))


@pytest.mark.parametrize("layout", ["gradient", "parameter"])
@pytest.mark.parametrize("cls", BOTH)
def test_tensors_laid_out_differently_are_updated_right(cls, layout):
    torch.manual_seed(0)
    start, grads = torch.randn(3, 4), [torch.randn(3, 4) for _ in range(3)]
    plain, odd = start.clone(), start.clone()
    if layout == "parameter":
        odd = start.t().contiguous().t()
    arguments = {"momentum": 0.9} if cls is DecoupledSGDW else {}
    optimizers = [cls([p], lr=0.1, foreach=False, **arguments) for p in (plain,)]
    optimizers.append(cls([odd], lr=0.1, **arguments))
    for grad in grads:
        plain.grad = grad
        odd.grad = grad.t().contiguous().t() if layout == "gradient" else grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.allclose(plain, odd)


@pytest.mark.parametrize("cls", BOTH)
def test_a_step_returns_what_the_closure_returns_and_lets_it_differentiate(cls):
    param = weight(1.0)
    optimizer = cls([param], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (param**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 1.0
    assert param.item() < 1.0


@pytest.mark.parametrize("cls", BOTH)
def test_sparse_gradients_are_refused(cls):
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=f"{cls.__name__} takes no sparse gradients"):
        cls(embedding.parameters(), lr=0.1).step()


def test_sgdw_without_a_rate_is_refused():
    with pytest.raises(ValueError, match="needs lr"):
        DecoupledSGDW([weight()])


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (DecoupledSGDW, {"lr": -1}),
        (DecoupledSGDW, {"lr": 0.1, "momentum": -1}),
        (DecoupledSGDW, {"lr": 0.1, "nesterov": True}),
        (DecoupledSGDW, {"lr": 0.1, "weight_decay": -1}),
        (DecoupledAdamW, {"betas": (1.0, 0.9)}),
        (DecoupledAdamW, {"eps": -1}),
        (DecoupledAdamW, {"weight_decay": -1}),
    ],
)
def test_numbers_out_of_range_are_refused(cls, arguments):
    with pytest.raises(ValueError, match=r"Invalid|Nesterov"):
        cls([weight()], **arguments)


@pytest.mark.parametrize("cls", BOTH)
def test_a_tensor_rate_works(cls):
    numbers, tensors = weight(1.0, grad=1.0), weight(1.0, grad=1.0)
    cls([numbers], lr=0.1, weight_decay=0.5).step()
    cls([tensors], lr=torch.tensor(0.1), weight_decay=0.5).step()
    assert tensors.item() == pytest.approx(numbers.item())


@pytest.mark.parametrize("cls", BOTH)
def test_low_precision_weights_are_updated(cls):
    param = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    param.grad = torch.ones_like(param)
    cls([param], lr=0.25).step()
    assert param.tolist() == [0.75] * 4


@pytest.mark.parametrize("cls", BOTH)
def test_complex_weights_are_updated(cls):
    param = torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))
    param.grad = torch.ones_like(param)
    cls([param], lr=0.25, weight_decay=0.5).step()
    assert torch.allclose(param.real, torch.full((2,), 0.25))


@pytest.mark.parametrize("found_inf", [False, True])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("cls", BOTH)
def test_a_gradient_scaler_unscales_or_skips_the_step_with_its_decay(cls, kernel, found_inf):
    param, unscaled = weight(1.0), weight(1.0, grad=0.5)
    optimizer = cls([param], lr=0.1, weight_decay=0.5, **kernel)
    scaler = GradScaler("cpu", init_scale=4.0)
    scaler.scale((param * (float("inf") if found_inf else 0.5)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    if found_inf:
        assert param.item() == 1.0
    else:
        cls([unscaled], lr=0.1, weight_decay=0.5).step()
        assert param.item() == pytest.approx(unscaled.item())


@pytest.mark.parametrize("cls", BOTH)
def test_only_the_fused_kernel_takes_scaled_gradients(cls):
    asked = cls([weight()], lr=0.1, fused=True)
    assert getattr(asked, "_step_supports_amp_scaling", False)
    assert not getattr(cls([weight()], lr=0.1), "_step_supports_amp_scaling", False)


class NumberReads(TorchDispatchMode):
    """Counts how often a tensor is read as a Python number, which makes a device wait."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
@pytest.mark.parametrize("cls", BOTH)
def test_a_step_reads_no_tensor_as_a_number(cls, lr):
    optimizer = stepped(cls([weight(grad=1.0), weight(grad=1.0)], lr=lr, weight_decay=1e-4))
    with NumberReads() as reads:
        optimizer.step()
    assert reads.count == 0


# Checkpoints.


def stepped(optimizer):
    for group in optimizer.param_groups:
        for param in group["params"]:
            param.grad = torch.ones_like(param)
    optimizer.step()
    return optimizer


def test_the_state_has_composers_layout():
    adam = stepped(DecoupledAdamW([weight()], amsgrad=True)).state_dict()
    assert set(adam["state"][0]) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert isinstance(adam["state"][0]["step"], torch.Tensor)
    assert adam["state"][0]["step"] == 1
    assert adam["param_groups"][0]["initial_lr"] == 1e-3
    sgd = stepped(DecoupledSGDW([weight()], lr=0.1, momentum=0.9)).state_dict()
    assert set(sgd["state"][0]) == {"momentum_buffer"}
    assert sgd["param_groups"][0]["initial_lr"] == 0.1


def test_sgdw_without_momentum_has_no_state():
    assert not stepped(DecoupledSGDW([weight()], lr=0.1)).state_dict()["state"]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("cls", BOTH)
def test_a_restored_optimizer_goes_on_as_the_first_would_have(cls, kernel):
    arguments = {"lr": 0.1, "weight_decay": 0.01, **kernel}
    param = weight()
    optimizer = stepped(cls([param], **arguments))
    optimizer.param_groups[0]["lr"] = 0.05
    twin = weight(*param.tolist())
    restored = cls([twin], **arguments)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(optimizer)
    stepped(restored)
    assert torch.equal(param, twin)


@pytest.mark.parametrize(("ours", "torchs"), [(DecoupledSGDW, SGD), (DecoupledAdamW, AdamW)])
def test_checkpoints_of_torchs_optimizers_load(ours, torchs):
    optimizer = ours([weight()], lr=0.3)
    optimizer.load_state_dict(stepped(torchs([weight()], lr=0.1)).state_dict())
    assert optimizer.param_groups[0]["initial_lr"] == 0.1
    stepped(optimizer)


@pytest.mark.parametrize(("ours", "torchs"), [(DecoupledSGDW, SGD), (DecoupledAdamW, AdamW)])
def test_torchs_optimizers_load_our_checkpoints(ours, torchs):
    optimizer = torchs([weight()], lr=0.3)
    optimizer.load_state_dict(stepped(ours([weight()], lr=0.1)).state_dict())
    stepped(optimizer)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize("cls", BOTH)
def test_an_optimizer_can_be_copied(cls, duplicate):
    optimizer = stepped(cls([weight(1.0)], lr=0.1, weight_decay=0.01))
    twin = duplicate(optimizer)
    for each in (optimizer, twin):
        stepped(each)
    assert torch.equal(optimizer.param_groups[0]["params"][0], twin.param_groups[0]["params"][0])


# Norms for the optimizer monitor.


def test_metrics_are_the_norms_of_one_parameter():
    other, param = weight(), weight(3.0, 4.0, grad=2.0)
    groups = [{"params": [other]}, {"params": [param], "lr": 0.2, "weight_decay": 1e-4}]
    optimizer = DecoupledAdamW(groups, weight_decay=0.0)
    before = param.detach().clone()
    optimizer.step()
    found = optimizer.report_per_parameter_metrics(param, "w", {})
    assert set(found) == {f"l2_norm/{kind}/w" for kind in ("moment", "param", "update", "grad")}
    assert found["l2_norm/moment/w"] == pytest.approx(0.1 * 8**0.5)
    assert found["l2_norm/grad/w"] == pytest.approx(8**0.5)
    assert found["l2_norm/param/w"] == pytest.approx(param.norm().item())
    assert found["l2_norm/update/w"] == pytest.approx((param - before).norm().item(), rel=1e-3)


def test_a_parameter_without_a_step_has_no_metrics():
    param = weight()
    assert DecoupledAdamW([param]).report_per_parameter_metrics(param, "w", {"a": 1}) == {"a": 1}


def test_with_one_process_reducing_gives_the_norms_back():
    param = weight(3.0, 4.0, grad=2.0)
    optimizer = stepped(DecoupledAdamW([param]))
    found = optimizer.report_per_parameter_metrics(param, "w", {})
    reduced = optimizer.dist_reduce_metrics(optimizer.pre_reduce_metrics(dict(found)))
    assert reduced == {name: pytest.approx(value.item()) for name, value in found.items()}


def test_metrics_of_other_kinds_are_left_alone():
    optimizer = DecoupledAdamW([weight()])
    metrics = {"cosine/w": torch.tensor(2.0)}
    assert optimizer.dist_reduce_metrics(optimizer.pre_reduce_metrics(metrics)) == {"cosine/w": 2.0}
