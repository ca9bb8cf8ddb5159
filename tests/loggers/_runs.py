"""Small runs, and a terminal to watch them in."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from types import TracebackType
from typing import Any, Self

import torch

from composer.models.base import ComposerModel
from composer.trainer.trainer import Trainer

Batch = tuple[torch.Tensor, torch.Tensor]


class Net(ComposerModel):
    """A linear classifier without metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.layer(batch[0])

    def loss(self, outputs: Any, batch: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, batch[1])


def make_batches(num_batches: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(2, 4, generator=generator), torch.tensor([0, 1])) for _ in range(num_batches)
    ]


class Unsized:
    """A loader that does not know its length."""

    def __init__(self, num_batches: int) -> None:
        self.batches = make_batches(num_batches)

    def __iter__(self) -> Any:
        return iter(self.batches)


def make_trainer(loggers: Any, num_batches: int = 4, **arguments: Any) -> Trainer:
    """Make a trainer that logs to ``loggers`` only."""
    model = arguments.pop("model", None) or Net()
    defaults: dict[str, Any] = {
        "train_dataloader": make_batches(num_batches),
        "max_duration": "1ep",
        "optimizers": torch.optim.SGD(model.parameters(), lr=0.1),
        "progress_bar": False,
        "device": "cpu",
        "seed": 1,
        "run_name": "the-run",
    }
    return Trainer(model=model, loggers=loggers, **{**defaults, **arguments})


class Terminal:
    """A pseudo-terminal: ``stream`` is what a program writes to, ``screen()`` what is seen.

    Args:
        columns: its width; 0 stands for a terminal that does not tell.
    """

    def __init__(self, columns: int = 100, encoding: str = "utf-8") -> None:
        self._master, slave = pty.openpty()
        self.columns = columns
        fcntl.ioctl(
            slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40 if columns else 0, columns, 0, 0)
        )
        self.stream = os.fdopen(slave, "w", encoding=encoding)
        self._encoding = encoding
        self._bytes = bytearray()
        # A terminal nobody reads makes the program wait.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                found = os.read(self._master, 65536)
            except OSError:
                return
            if not found:
                return
            self._bytes += found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        os.close(self._master)

    def hang_up(self) -> None:
        """Close the program's side; everything written has been read then."""
        if not self.stream.closed:
            self.stream.close()
        self._reader.join(timeout=10)

    def text(self) -> str:
        """Return every byte written, as text."""
        self.hang_up()
        return self._bytes.decode(self._encoding)

    def screen(self) -> list[str]:
        """Return the lines that are seen in the end."""
        return render(self.text(), self.columns or 80)


def render(text: str, columns: int) -> list[str]:
    """Return what a terminal shows after ``text``: lines, the last one where the cursor stands."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|.", text, re.DOTALL):
        if token == "\r":
            column = 0
        elif token == "\n":
            row += 1
        elif token[0] == "\x1b":
            assert token[-1] == "A", f"an unexpected code {token!r}"
            row -= int(token[2:-1] or 1)
        else:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]
