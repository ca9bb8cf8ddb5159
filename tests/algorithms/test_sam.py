import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from composer.algorithms.gradient_clipping import GradientClipping
from composer.algorithms.sam import SAM, SAMOptimizer
from composer.core.precision import Precision
from composer.errors import ConfigError, StateError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.precision_policy import PrecisionPolicy
from composer.trainer.train_step import closure_optimizer
from composer.trainer.trainer import Trainer
from tests._dist import run_ranks
from tests.algorithms._runs import HandRun


def point(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def square_closure(weights: nn.Parameter, seen: list[list[float]]) -> Callable[..., Tensor]:
    """Loss ``|w|^2 / 2``, whose gradient is ``w``; notes where it was asked."""

    def closure(**keywords: Any) -> Tensor:
        seen.append(weights.tolist())
        weights.grad = None
        loss = weights.square().sum() / 2
        loss.backward()
        return loss.detach()

    return closure


# The optimizer.


def test_it_steps_with_the_gradient_at_the_top_of_the_climb() -> None:
    # g = w = (3, 4), |g| = 5, climb 0.5 * g / 5 = (0.3, 0.4); there g = (3.3, 4.4);
    # w - 0.1 * g = (2.67, 3.56).
    weights, seen = point(3.0, 4.0), []
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.1), rho=0.5)
    loss = optimizer.step(square_closure(weights, seen))
    assert loss.item() == pytest.approx(12.5)
    assert seen[1] == pytest.approx([3.3, 4.4])
    assert weights.tolist() == pytest.approx([2.67, 3.56])


def test_the_norm_is_that_of_all_parameters_together() -> None:
    first, second = point(3.0), point(4.0)
    optimizer = SAMOptimizer(torch.optim.SGD([first, second], lr=0.1), rho=0.5)
    (first.square().sum() / 2 + second.square().sum() / 2).backward()
    optimizer.first_step()
    assert first.tolist() == pytest.approx([3.3])
    assert second.tolist() == pytest.approx([4.4])


def test_the_weights_come_back_to_the_bit() -> None:
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(1000))
    before = weights.detach().clone()
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.0), rho=0.3)
    optimizer.step(square_closure(weights, []))
    assert torch.equal(weights, before)


def test_only_every_nth_step_climbs() -> None:
    weights, seen = point(1.0), []
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.1), interval=3)
    closure = square_closure(weights, seen)
    asked = []
    for _ in range(6):
        before = len(seen)
        optimizer.step(closure)
        asked.append(len(seen) - before)
    assert asked == [1, 1, 2, 1, 1, 2]


def test_a_first_gradient_that_is_not_finite_changes_nothing() -> None:
    weights = point(1.0)
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.1))
    assert optimizer.step(lambda **_: None) is None
    assert weights.tolist() == [1.0]


def test_a_second_gradient_that_is_not_finite_puts_the_weights_back() -> None:
    weights, seen = point(1.0), []
    closure = square_closure(weights, seen)
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.1))
    optimizer.step(lambda **keywords: closure() if not seen else None)
    assert weights.tolist() == [1.0]


def test_an_error_at_the_top_puts_the_weights_back() -> None:
    weights, seen = point(1.0), []
    closure = square_closure(weights, seen)

    def failing(**keywords: Any) -> Tensor:
        if seen:
            raise KeyboardInterrupt
        return closure()

    with pytest.raises(KeyboardInterrupt):
        SAMOptimizer(torch.optim.SGD([weights], lr=0.1)).step(failing)
    assert weights.tolist() == [1.0]


def test_without_a_closure_it_says_what_it_needs() -> None:
    with pytest.raises(StateError, match="needs a closure"):
        SAMOptimizer(torch.optim.SGD([point(1.0)], lr=0.1)).step()


def test_groups_and_state_are_those_of_the_base_optimizer() -> None:
    weights = point(1.0)
    base = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    optimizer = SAMOptimizer(base)
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step(square_closure(weights, []))
    assert base.param_groups[0]["lr"] == 0.5
    assert weights in optimizer.state
    assert str(optimizer.state_dict()) == str(base.state_dict())


def test_a_loaded_state_is_shared_with_the_base_optimizer() -> None:
    weights = point(1.0)
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.1, momentum=0.9))
    optimizer.step(square_closure(weights, []))
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0]["lr"] = 0.25
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups is optimizer.base_optimizer.param_groups
    assert optimizer.state is optimizer.base_optimizer.state
    assert optimizer.base_optimizer.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("make", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_share_with_their_own_base_optimizer(make: Callable[[Any], Any]) -> None:
    optimizer = SAMOptimizer(torch.optim.SGD([point(1.0)], lr=0.1), rho=0.2, interval=2)
    again = make(optimizer)
    assert again.base_optimizer is not optimizer.base_optimizer
    assert again.param_groups is again.base_optimizer.param_groups
    assert (again.rho, again.interval) == (0.2, 2)


# The method.


def test_the_optimizer_keeps_its_name() -> None:
    run = HandRun(SAM())
    run.begin()
    assert list(run.state.named_optimizers) == ["SGD"]
    assert isinstance(run.state.optimizers[0], SAMOptimizer)


def test_several_optimizers_are_refused() -> None:
    run = HandRun(SAM())
    parameters = list(run.state.model.parameters())
    halves = [torch.optim.SGD(half, lr=0.1) for half in (parameters[:2], parameters[2:])]
    run.state.optimizers = halves
    with pytest.raises(ConfigError, match="SAM works with one optimizer"):
        run.begin()


@pytest.mark.parametrize("arguments", [{"rho": -1}, {"epsilon": -1e-9}, {"interval": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        SAM(**arguments)


def line() -> ComposerClassifier:
    torch.manual_seed(1)
    return ComposerClassifier(nn.Linear(3, 2, bias=False), num_classes=2)


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(2)
    return TensorDataset(torch.randn(8, 3, generator=generator), torch.arange(8) % 2)


def trained(**keywords: Any) -> Trainer:
    model = line()
    trainer = Trainer(
        **{
            "model": model,
            "max_duration": "2ba",
            "optimizers": torch.optim.SGD(model.parameters(), lr=0.5),
            "train_dataloader": DataLoader(data(), 4),
            "algorithms": SAM(rho=0.1),
            "progress_bar": False,
            **keywords,
        }
    )
    trainer.fit()
    return trainer


def by_hand(clip: float | None = None) -> Tensor:
    """Two SAM steps written out."""
    weights = line().module.weight.detach().requires_grad_()
    for inputs, targets in DataLoader(data(), 4):

        def gradient(at: Tensor, inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
            loss = nn.functional.cross_entropy(inputs @ at.T, targets)
            (grad,) = torch.autograd.grad(loss, at)
            if clip is not None:
                grad = grad * min(1.0, clip / (grad.norm().item() + 1e-6))
            return grad

        first = gradient(weights)
        top = (weights + 0.1 * first / first.norm()).detach().requires_grad_()
        weights = (weights - 0.5 * gradient(top)).detach().requires_grad_()
    return weights


def test_the_trainer_takes_the_steps_of_the_paper() -> None:
    torch.testing.assert_close(trained().state.model.module.weight, by_hand())


def test_microbatches_make_the_same_steps() -> None:
    small = trained(device_train_microbatch_size=1)
    torch.testing.assert_close(small.state.model.module.weight, by_hand())


def test_clipping_acts_on_both_gradients() -> None:
    clipped = trained(algorithms=[SAM(rho=0.1), GradientClipping("norm", 0.05)])
    torch.testing.assert_close(clipped.state.model.module.weight, by_hand(clip=0.05))


def test_the_batchs_loss_is_the_one_before_the_climb() -> None:
    plain, sharp = (trained(max_duration="1ba", algorithms=each) for each in ([], SAM(rho=0.5)))
    name = "loss/train/total"
    assert torch.equal(plain.state.total_loss_dict[name], sharp.state.total_loss_dict[name])


# Loss scaling.


def scaled_steps(overflow_in_call: int | None) -> tuple[list[float], float]:
    """One step under a scaler, in which a gradient overflows in one of the two passes."""
    weights = point(3.0, 4.0)
    optimizer = SAMOptimizer(torch.optim.SGD([weights], lr=0.1), rho=0.5)
    policy = PrecisionPolicy(Precision.FP32, "cpu", torch.amp.GradScaler("cpu", init_scale=8.0))
    calls = []

    def closure(ddp_sync: bool = True, loss_dict: Any = None) -> Tensor:
        assert ddp_sync
        calls.append(ddp_sync)
        weights.grad = None
        loss = weights.square().sum() / 2
        policy.backward(loss, create_graph=False)
        if len(calls) == overflow_in_call:
            weights.grad.fill_(torch.inf)
        policy.unscale([optimizer])
        return loss.detach()

    policy.step_with_closure(optimizer, closure)
    assert policy.scaler is not None
    return weights.tolist(), policy.scaler.get_scale()


def test_scaled_losses_make_the_same_step() -> None:
    weights, scale = scaled_steps(None)
    assert weights == pytest.approx([2.67, 3.56])
    assert scale == 8.0


@pytest.mark.parametrize("call", [1, 2])
def test_an_overflow_in_either_pass_skips_the_step_and_lowers_the_scale(call: int) -> None:
    weights, scale = scaled_steps(call)
    assert weights == [3.0, 4.0]
    assert scale == 4.0


def test_loss_scaling_is_allowed_with_it() -> None:
    optimizer = SAMOptimizer(torch.optim.SGD([point(1.0)], lr=0.1))
    policy = PrecisionPolicy(Precision.FP32, "cpu", torch.amp.GradScaler("cpu"))
    assert closure_optimizer([optimizer], policy) is optimizer


# Ranks.


def two_rank_weights() -> list[float]:
    model = line()
    sampler = DistributedSampler(data(), shuffle=False)
    trained(
        model=model,
        optimizers=torch.optim.SGD(model.parameters(), lr=0.5),
        train_dataloader=DataLoader(data(), 4, sampler=sampler),
        max_duration="1ba",
    )
    return model.module.weight.flatten().tolist()


def test_each_rank_climbs_by_itself_and_all_step_alike() -> None:
    first, second = run_ranks(2, two_rank_weights)
    assert first == second
    weights = line().module.weight.detach()
    inputs, targets = data().tensors
    gradients = []
    for rank in (0, 1):
        own = weights.clone().requires_grad_()
        part = (inputs[rank::2], targets[rank::2])
        (climb,) = torch.autograd.grad(nn.functional.cross_entropy(part[0] @ own.T, part[1]), own)
        top = (own + 0.1 * climb / climb.norm()).detach().requires_grad_()
        (grad,) = torch.autograd.grad(nn.functional.cross_entropy(part[0] @ top.T, part[1]), top)
        gradients.append(grad)
    expected = weights - 0.5 * (gradients[0] + gradients[1]) / 2
    torch.testing.assert_close(torch.tensor(first), expected.flatten())
