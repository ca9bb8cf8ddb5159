"""Train one small network twice, plainly and with methods composed in, and see what they gained.

Run it with `make demo`, or as `python examples/digits.py`. It draws a plot and ends at a dashboard
on this machine, with the runs of both recipes side by side. What to look at, from top to bottom:

- `plain` and `composed` are the two recipes: what is handed to the Trainer besides model and data.
- `train` is all the code a run needs. The loop is the Trainer's.
- `OneBar` adapts a logger: one bar for the run in place of one for every epoch and evaluation.

The digits are scikit-learn's, 8 x 8 pixels: a third to train on, a third (validation) to say when
the target is reached, a third (test) for the end. How both were tuned stands in docs/demo.md.
"""

import argparse

import torch
from digits_report import Run, report
from digits_tracker import look, tracker
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from composer import Evaluator, Trainer
from composer.algorithms import EMA, GradientClipping, LabelSmoothing
from composer.loggers import InMemoryLogger, ProgressBarLogger, WandBLogger
from composer.models import ComposerClassifier
from composer.optim import WarmupStableDecayScheduler
from composer.utils.reproducibility import seed_all

TARGET = 0.965
PROJECT = "digits"


def load_thirds():
    """Return the digits as data sets for training, validation and test; the same every time."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    whole = TensorDataset(images, torch.tensor(digits.target))
    rest, first = train_test_split(range(len(whole)), test_size=1 / 3, random_state=0)
    second, third = train_test_split(rest, test_size=1 / 2, random_state=0)
    return [TensorDataset(*whole[part]) for part in (first, second, third)]


def make_network():
    """Return a convolutional network without normalisation, which is not easy to train."""
    layers = []
    for inputs, outputs in [(1, 16), (16, 32), (32, 64), (64, 64)]:
        layers += [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU()]
    layers.insert(4, nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def plain(network):
    """Stochastic gradient descent with momentum."""
    return {"optimizers": torch.optim.SGD(network.parameters(), lr=0.07, momentum=0.9)}


def composed(network):
    """The same optimizer, with a schedule and methods that make a higher learning rate usable."""
    return plain(network) | {
        "schedulers": WarmupStableDecayScheduler(t_warmup="2ep", t_cooldown="0.3dur"),
        "algorithms": [LabelSmoothing(0.1), GradientClipping("norm", 1.0), EMA("20ba")],
    }


class OneBar(ProgressBarLogger):
    """One bar for a run: an evaluation only changes a number in it."""

    def log_hyperparameters(self, hyperparameters):
        """Print none."""

    def eval_start(self, state, logger):
        """Open no bar."""

    def eval_end(self, state, logger):
        """Show the accuracy next to the training loss."""
        self.log_to_pbar({"validation": f"{state.eval_metric_values['MulticlassAccuracy']:.1%}"})


def train(recipe, seed, num_epochs):
    """Return seconds and validation accuracy after each epoch, and the test accuracy at the end."""
    train_part, validation_part, test_part = load_thirds()
    batches = DataLoader(train_part, batch_size=32, shuffle=True)
    seed_all(seed)
    network = make_network()
    memory = InMemoryLogger()
    trainer = Trainer(
        model=ComposerClassifier(network, num_classes=10),
        train_dataloader=batches,
        eval_dataloader=DataLoader(validation_part, batch_size=600),
        max_duration=f"{num_epochs * len(batches)}ba",
        eval_interval="1ep",
        seed=seed,
        progress_bar=False,
        loggers=[memory, OneBar("stdout"), WandBLogger(project=PROJECT, group=recipe.__name__)],
        run_name=f"{recipe.__name__}-{seed}",
        **recipe(network),
    )
    trainer.fit()
    trainer.eval(Evaluator(label="test", dataloader=DataLoader(test_part, batch_size=600)))
    trainer.close()
    # Each value was kept with the clocks of its moment. `total_wct` leaves evaluation out.
    series = memory.get_timeseries("metrics/eval/MulticlassAccuracy")
    test_accuracy = memory.most_recent_values["metrics/test/MulticlassAccuracy"]
    return series["total_wct"], series["metrics/eval/MulticlassAccuracy"], float(test_accuracy)


def main():
    """Train both recipes with each seed and report."""
    parser = argparse.ArgumentParser(description="Train on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--out", default="out", help="folder for the plot and the tracker's runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = {"plain": [], "composed": []}
    with tracker(f"{given.out}/tracker") as address:
        # Seed by seed, so that a machine that slows down on the way does so for both recipes.
        for seed in range(given.seeds):
            for recipe in (plain, composed):
                print(f"{recipe.__name__}, seed {seed}", flush=True)
                runs[recipe.__name__].append(Run(*train(recipe, seed, given.epochs)))
        report(runs, TARGET, plot=f"{given.out}/digits.png")
        look(address, PROJECT, TARGET)


if __name__ == "__main__":
    main()
