"""What logging to W&B costs a step, done in several ways on the same work.

Every loop trains the same model and logs the same five values a step to an offline run of its own:
the loss and four counters. They train in turns of a few steps, in one process; what is read is the
CPU clock of the training thread. Run it as ``python benchmarks/logging_cost.py``; with the package
``lightning`` installed, its WandbLogger is timed as well.

It is not called ``logging.py``, because Python would take it for the module of that name.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from _loops import NoMoreBatchesError, composer_train, raw_train
from _stopwatch import Contestant, Result, take_turns
from _tasks import TASKS, Pair, Task

Loop = Callable[[Iterable[Pair]], None]
# An offline run beside those of the other loops.
RUN: dict[str, Any] = {"mode": "offline", "reinit": "create_new", "project": "benchmark"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--blocks", type=int, default=20, help="turns of each loop")
    parser.add_argument("--steps", type=int, default=50, help="steps of a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.update(WANDB_SILENT="true", WANDB_DIR=tempfile.mkdtemp(), WANDB_CONSOLE="off")
    task = TASKS["mlp"]
    loops: dict[str, Loop] = {
        "by hand, nothing logged": raw_train(task),
        "by hand, one wandb.log a step": by_hand(task, one_row),
        "by hand, one per small dict, copied": by_hand(task, small_dicts),
        "Trainer, nothing logged": composer_train(task),
        "Trainer, WandBLogger": with_our_logger(task),
    }
    if importlib.util.find_spec("lightning") is not None:
        loops["Lightning, nothing logged"] = with_lightning(task, is_logged=False)
        loops["Lightning, WandbLogger"] = with_lightning(task, is_logged=True)
    contestants = [Contestant(name, loop, task.batches()) for name, loop in loops.items()]
    report(take_turns(contestants, options.blocks, options.steps), options)


Values = tuple[torch.Tensor, int, int]


def one_row(run: Any, values: Values) -> None:
    """What a careful user writes."""
    loss, step, samples = values
    row = {
        "loss/train/total": loss.item(), "time/batch": step, "time/sample": samples,
        "time/batch_in_epoch": step, "time/sample_in_epoch": samples,
    }  # fmt: skip
    run.log(row, step=step)


def small_dicts(run: Any, values: Values) -> None:
    """What MosaicML Composer does: a call for each dict that is logged, with a deep copy of it."""
    loss, step, samples = values
    counters = {
        "time/batch": step, "time/sample": samples,
        "time/batch_in_epoch": step, "time/sample_in_epoch": samples,
    }  # fmt: skip
    run.log(copy.deepcopy(counters), step=step)
    run.log(copy.deepcopy({"loss/train/total": loss.cpu().item()}), step=step)


def by_hand(task: Task, log: Callable[[Any, Values], None]) -> Loop:
    model = task.model()
    optimizer = task.make_optimizer(model)

    def loop(batches: Iterable[Pair]) -> None:
        import wandb

        run = wandb.init(**RUN)
        model.train()
        for step, batch in enumerate(batches):
            optimizer.zero_grad()
            loss = model.loss(model(batch), batch)
            loss.backward()
            optimizer.step()
            log(run, (loss, step, step * len(batch[0])))
        run.finish()

    return loop


def with_our_logger(task: Task) -> Loop:
    from composer import Trainer
    from composer.loggers import WandBLogger

    model = task.model()

    def loop(batches: Iterable[Pair]) -> None:
        trainer = Trainer(
            model=model,
            train_dataloader=Once(batches),
            max_duration="1000000000ba",
            optimizers=task.make_optimizer(model),
            loggers=WandBLogger(init_kwargs=RUN),
            device="cpu",
            progress_bar=False,
        )
        with contextlib.suppress(NoMoreBatchesError):
            trainer.fit()
        trainer.close()

    return loop


class Once:
    """Batches for one epoch; the next ends the run."""

    def __init__(self, batches: Iterable[Pair]) -> None:
        self._batches = batches

    def __iter__(self) -> Any:
        yield from self._batches
        raise NoMoreBatchesError


def with_lightning(task: Task, is_logged: bool) -> Loop:
    import lightning
    from lightning.pytorch.loggers import WandbLogger

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model()

        def training_step(self, batch: Pair, batch_index: int) -> torch.Tensor:
            loss = self.model.loss(self.model(batch), batch)
            if is_logged:
                samples = float(batch_index * len(batch[0]))
                self.log("loss/train/total", loss)
                self.log_dict(
                    {
                        "time/batch": float(batch_index), "time/sample": samples,
                        "time/batch_in_epoch": float(batch_index),
                        "time/sample_in_epoch": samples,
                    }
                )  # fmt: skip
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return task.make_optimizer(self.model)

    def loop(batches: Iterable[Pair]) -> None:
        import wandb

        folder = tempfile.mkdtemp()
        logger = WandbLogger(save_dir=folder, experiment=wandb.init(**RUN)) if is_logged else False
        lightning.Trainer(
            accelerator="cpu", max_epochs=1, default_root_dir=folder, logger=logger,
            log_every_n_steps=1, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False,
        ).fit(Module(), batches)  # fmt: skip

    return loop


def report(results: list[Result], options: argparse.Namespace) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{os.cpu_count()} cores, load {load} (1, 5, 15 min), Python {platform.python_version()}, "
        f"torch {torch.__version__}; {options.blocks} turns of {options.steps} steps, microseconds"
    )
    print("| loop | step | over nothing logged by hand: median | quartiles | least tenth |")
    print("|---|--:|--:|--:|--:|")
    for result in results:
        print(
            f"| {result.name} | {result.step_us:.0f} | {result.over_us:.0f} "
            f"| {result.low_us:.0f} .. {result.high_us:.0f} | {result.quiet_over_us:.0f} |"
        )


if __name__ == "__main__":
    main()
