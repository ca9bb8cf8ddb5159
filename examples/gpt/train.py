"""Train a small GPT on a text file, and let it write.

    python examples/gpt/train.py TEXT

`TEXT` is any text file in UTF-8; an empty line ends a document (`--separator`). Its last tenth is
kept for validation. `model.py` is the model, `tokens.py` reads the text; here is how it is trained:
Muon for the matrices and AdamW for the rest, a learning rate that stays up and then falls, a loss
that never holds all scores at once, and rows that documents fill. `--without` takes AdamW, a
cosine, the usual loss or one document a row in place of any of them.
"""

import argparse
from dataclasses import dataclass

import torch
from model import GPT, Config
from tokens import make_tokenizer, read_documents
from torch.utils.data import DataLoader

from composer import Evaluator, Trainer
from composer.algorithms import FusedLinearCrossEntropy
from composer.data import PackedDocuments
from composer.optim import (
    CosineAnnealingWithWarmupScheduler,
    Muon,
    WarmupStableDecayScheduler,
)
from composer.utils.reproducibility import seed_all

PARTS = ("muon", "wsd", "fused", "packing")


@dataclass
class Task:
    """A text, ready to be trained on.

    Attributes:
        tokenizer: turns text into tokens and back.
        training: the tokens of each document.
        validation: likewise, of the end of the text.
    """

    tokenizer: object
    training: list
    validation: list


def load(path, tokenizer="char", separator="\n\n"):
    """Return the task of a text file."""
    texts = read_documents(path, separator)
    tokenizer = make_tokenizer(tokenizer, "".join(texts[0] + texts[1]))
    return Task(tokenizer, *([tokenizer.encode(text) for text in part] for part in texts))


def make_rows(documents, context, packed):
    """Return rows of tokens: as many documents in each as fit, or one and padding after it."""
    alone = {} if packed else {"lookahead": 1}
    return PackedDocuments(documents, context, shift_labels=True, **alone)


def make_optimizer(model, on):
    """Return the optimizer: Muon and AdamW for a part each, or AdamW for all."""
    if "muon" in on:
        return Muon(model, lr=0.02, adamw_lr=0.01)
    return torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95))


def make_schedule(on):
    """Return the schedule: up, level, down; or up and down along a cosine."""
    if "wsd" in on:
        return WarmupStableDecayScheduler(t_warmup="0.05dur", t_cooldown="0.5dur")
    return CosineAnnealingWithWarmupScheduler(t_warmup="0.05dur")


def make_trainer(task, on=PARTS, seed=17, config=None, max_duration="400ba", rows=16, **keywords):
    """Return the Trainer of a run.

    Args:
        task: the text.
        on: which of `PARTS` are used.
        seed: of the weights and of the order of the rows.
        config: the model's size; a small one by default.
        max_duration: how long it trains.
        rows: rows in a batch.
        keywords: further arguments of the Trainer.
    """
    seed_all(seed)
    config = config or Config(len(task.tokenizer))
    model = GPT(config)
    training = make_rows(task.training, config.context, packed="packing" in on)
    # Judged on the same rows, whatever it was trained on.
    validation = make_rows(task.validation, config.context, packed=True)
    defaults = {
        "optimizers": make_optimizer(model, on),
        "schedulers": make_schedule(on),
        "algorithms": [FusedLinearCrossEntropy()] if "fused" in on else [],
        "precision": "amp_bf16",
    }
    return Trainer(
        model=model,
        train_dataloader=DataLoader(training, rows, shuffle=True, drop_last=True),
        eval_dataloader=Evaluator(
            label="validation", dataloader=DataLoader(validation, 2 * rows), subset_num_batches=4
        ),
        max_duration=max_duration,
        seed=seed,
        **defaults | keywords,
    )


def main():
    """Train, say how well, and write something."""
    parser = argparse.ArgumentParser(description="Train a small GPT on a text file.")
    parser.add_argument("text", help="a text file")
    parser.add_argument("--tokenizer", default="char", help="char, byte, or a tokenizer's folder")
    parser.add_argument("--separator", default="\n\n", help="what ends a document; '' for nothing")
    parser.add_argument("--context", type=int, default=256, help="tokens of a row")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--tied", action="store_true", help="let the head have the embedding")
    parser.add_argument("--duration", default="1000ba", help="how long to train, such as 2ep")
    parser.add_argument("--rows", type=int, default=16, help="rows in a batch")
    parser.add_argument(
        "--without", nargs="*", choices=PARTS, default=[], help="parts to leave out"
    )
    parser.add_argument("--length", type=int, default=200, help="tokens to write at the end")
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    task = load(given.text, given.tokenizer, given.separator)
    config = Config(
        len(task.tokenizer), given.context, given.width, given.depth, given.heads, given.tied
    )
    on = [part for part in PARTS if part not in given.without]
    trainer = make_trainer(
        task, on, given.seed, config, given.duration, given.rows, eval_interval="100ba"
    )
    trainer.fit()
    loss = float(trainer.state.eval_metrics["validation"]["LanguageCrossEntropy"].compute())
    print(f"\nvalidation: {loss:.3f} nats a token\n")
    start = torch.tensor([task.validation[0][:1]])
    model = trainer.state.model.eval()
    print(task.tokenizer.decode(model.write(start, given.length)[0].tolist()))
    trainer.close()


if __name__ == "__main__":
    main()
