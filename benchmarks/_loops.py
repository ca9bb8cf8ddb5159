"""The loops that are compared: a hand-written one, the Trainer with features, other libraries.

Each function takes a task and returns a loop over given batches. Other libraries are imported only
where they are asked for; each is used as its documentation begins, with what it logs, shows and
saves switched off.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _tasks import Pair, Task, make_metric
from torch.utils.data import IterableDataset

__all__ = [
    "PEERS",
    "Features",
    "NoMoreBatchesError",
    "composer_eval",
    "composer_train",
    "machine",
    "raw_eval",
    "raw_train",
]

Loop = Callable[[Iterable[Pair]], None]


@dataclass(frozen=True)
class Features:
    """What a Trainer is given beside model, data and optimizer."""

    loggers: str = "none"
    metrics: bool = False
    callbacks: int = 0
    floats: int = 0
    tensors: int = 0
    methods: tuple[str, ...] = ()


def raw_train(task: Task) -> Loop:
    """What one writes by hand."""
    model = task.model()
    optimizer = task.make_optimizer(model)

    def loop(batches: Iterable[Pair]) -> None:
        model.train()
        for batch in batches:
            optimizer.zero_grad()
            outputs = model(batch)
            loss = model.loss(outputs, batch)
            loss.backward()
            optimizer.step()

    return loop


def raw_eval(task: Task, with_metrics: bool) -> Loop:
    """The same for evaluation."""
    model = task.model()
    metric = make_metric(task.num_classes) if with_metrics else None

    def loop(batches: Iterable[Pair]) -> None:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                outputs = model(batch)
                if metric is not None:
                    model.update_metric(batch, outputs, metric)

    return loop


def composer_train(
    task: Task,
    features: Features = Features(),
    callbacks: Sequence[Any] = (),
    loggers: Sequence[Any] = (),
) -> Loop:
    """The Trainer; callbacks and loggers are added to those of the features."""
    import composer
    from composer import Trainer

    model = task.model()
    model.with_metrics = features.metrics
    watchers = [*callbacks, *(_idle() for _ in range(features.callbacks))]
    if features.floats or features.tensors:
        watchers.append(_values(features.floats, features.tensors))

    def loop(batches: Iterable[Pair]) -> None:
        trainer = Trainer(
            model=model,
            train_dataloader=batches,
            max_duration="1000000000ba",
            optimizers=task.make_optimizer(model),
            callbacks=watchers,
            algorithms=[getattr(composer.algorithms, name)() for name in features.methods],
            device="cpu",
            loggers=[*loggers, *_loggers(features.loggers)],
            progress_bar=False,
        )
        # The clocked batches end once; a second epoch would ask them for more.
        with contextlib.suppress(NoMoreBatchesError):
            trainer.fit()
        trainer.close()

    return lambda batches: loop(_Once(batches))


def composer_eval(task: Task, with_metrics: bool) -> Loop:
    """The Trainer's evaluation."""
    from composer import Evaluator, Trainer

    model = task.model()
    model.with_metrics = with_metrics
    trainer = Trainer(model=model, device="cpu", progress_bar=False)

    def loop(batches: Iterable[Pair]) -> None:
        trainer.eval(Evaluator(label="test", dataloader=batches, subset_num_batches=10**9))
        trainer.close()

    return loop


def _loggers(names: str) -> list[Any]:
    from composer.loggers import ConsoleLogger, FileLogger, InMemoryLogger, ProgressBarLogger

    makers: dict[str, Callable[[], Any]] = {
        "memory": InMemoryLogger,
        "defaults": lambda: ProgressBarLogger(stream=io.StringIO()),
        "bar": lambda: ProgressBarLogger(stream=_Terminal()),
        "console": lambda: ConsoleLogger(log_interval="100ba", stream=io.StringIO()),
        "file": lambda: FileLogger(filename=f"{tempfile.mkdtemp()}/log.txt"),
    }
    return [makers[name]() for name in names.split(",") if name not in ("none", "")]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class NoMoreBatchesError(Exception):
    """The clock was stopped."""


class _Once:
    """Batches for one epoch; the next ends the run."""

    def __init__(self, batches: Iterable[Pair]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Pair]:
        yield from self._batches
        raise NoMoreBatchesError


def _idle() -> Any:
    from composer import Callback

    class Idle(Callback):
        def batch_end(self, state: Any, logger: Any) -> None:
            pass

    return Idle()


def _values(floats: int, tensors: int) -> Any:
    from composer import Callback

    class Values(Callback):
        def __init__(self) -> None:
            self.values: dict[str, Any] = {f"number/{i}": float(i) for i in range(floats)}
            self.values.update({f"tensor/{i}": torch.tensor(float(i)) for i in range(tensors)})

        def batch_end(self, state: Any, logger: Any) -> None:
            logger.log_metrics(self.values)

    return Values()


def machine() -> str:
    """Say what the numbers were measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{names[0]}, {os.cpu_count()} cores, load {load} (1, 5, 15 min), "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


# Other libraries.


def accelerate_train(task: Task) -> Loop:
    """Accelerate: the model and the optimizer prepared, the batches as they are."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = task.model()
    model, optimizer = accelerator.prepare(model, task.make_optimizer(model))

    def loop(batches: Iterable[Pair]) -> None:
        model.train()
        for batch in batches:
            with accelerator.accumulate(model):
                optimizer.zero_grad()
                outputs = model(batch)
                loss = model.loss(outputs, batch)
                accelerator.backward(loss)
                optimizer.step()

    return loop


def lightning_train(task: Task, with_defaults: bool = False) -> Loop:
    """Lightning, with nothing on; or as it is by default, with its bar and the loss logged."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model()

        def training_step(self, batch: Pair) -> torch.Tensor:
            loss = self.model.loss(self.model(batch), batch)
            if with_defaults:
                self.log("loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return task.make_optimizer(self.model)

    def loop(batches: Iterable[Pair]) -> None:
        lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            barebones=not with_defaults,
            default_root_dir=tempfile.mkdtemp(),
        ).fit(Module(), batches)

    return loop


def transformers_train(task: Task) -> Loop:
    """The Hugging Face Trainer."""
    import transformers

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model()

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            batch = inputs, labels
            outputs = self.model(batch)
            return {"loss": self.model.loss(outputs, batch), "logits": outputs}

    class Data(IterableDataset):
        def __init__(self, batches: Iterable[Pair]) -> None:
            self.batches = batches

        def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
            return ({"inputs": x, "labels": y} for x, y in self.batches)

    def loop(batches: Iterable[Pair]) -> None:
        wrapped = Wrapped()
        options = transformers.TrainingArguments(
            output_dir=tempfile.mkdtemp(), max_steps=10**9, use_cpu=True, report_to="none",
            logging_strategy="no", save_strategy="no", disable_tqdm=True, max_grad_norm=0.0,
        )  # fmt: skip
        trainer = transformers.Trainer(
            wrapped,
            options,
            train_dataset=Data(_Once(batches)),
            optimizers=(task.make_optimizer(wrapped), None),
        )
        trainer.get_train_dataloader = lambda: trainer.train_dataset  # as the others get them
        with contextlib.suppress(NoMoreBatchesError):
            trainer.train()

    return loop


PEERS: dict[str, Callable[[Task], Loop]] = {
    "accelerate": accelerate_train,
    "lightning": lightning_train,
    "lightning-defaults": lambda task: lightning_train(task, with_defaults=True),
    "transformers": transformers_train,
}
