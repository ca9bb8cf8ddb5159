"""`composer verify-resume` on somebody's script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from composer.cli import verify
from composer.errors import ConfigError

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
import numpy as np
import torch
from composer import Trainer
from composer.models import ComposerClassifier
from torch.utils.data import DataLoader, TensorDataset

class Noisy(TensorDataset):
    rng = np.random.default_rng(1)

    def __getitem__(self, index):
        noise = {draw}
        return self.tensors[0][index] + noise, self.tensors[1][index]

data = Noisy(torch.randn(64, 4), torch.randint(0, 2, (64,)))
model = ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)
trainer = Trainer(
    model=model,
    train_dataloader=DataLoader(data, 4, shuffle=True),
    max_duration=sys.argv[1],
    optimizers=torch.optim.Adam(model.parameters()),
    device="cpu",
    save_folder="must-not-appear",
    loggers=[],
)
trainer.fit()
trainer.close()
print("the script has come to its end")
"""


def run(folder: Path, draw: str, *options: str) -> subprocess.CompletedProcess[str]:
    path = folder / "train.py"
    path.write_text(SCRIPT.format(draw=draw))
    command = [
        sys.executable,
        "-m",
        "composer.cli.main",
        "verify-resume",
        *options,
        str(path),
        "9ep",
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=170, cwd=folder, check=False
    )


@pytest.fixture(autouse=True)
def _from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")


def test_a_script_is_certified_as_it_is(tmp_path: Path) -> None:
    found = run(tmp_path, "torch.rand(())", "--at", "1ep", "--batches", "10", "--folder", "kept")
    assert found.stdout.startswith("CERTIFICATE"), found.stdout + found.stderr
    assert found.returncode == 0
    assert "10 batches; resumed at batch 8 (epoch 1)" in found.stdout
    assert not (tmp_path / "must-not-appear").exists()
    # Cut short by the verification, the script never comes behind its fit().
    assert (tmp_path / "kept" / "straight" / "records-rank0.jsonl").exists()


@pytest.mark.full
def test_a_script_that_does_not_resume_exactly_is_told_why(tmp_path: Path) -> None:
    found = run(tmp_path, "float(type(self).rng.random())", "--at", "3ba", "--batches", "6")
    assert found.returncode == 1
    assert "the data differ at batch 4" in found.stdout, found.stdout + found.stderr


def test_places_to_interrupt_at_stand_before_the_script() -> None:
    found = verify.make_parser().parse_args(["--at", "7ba,2ep", "train.py", "--at", "mine"])
    assert (found.at, found.script) == (["7ba", "2ep"], "train.py")
    assert found.script_args == ["--at", "mine"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "no script 'nowhere.py' here"),
        (["-n", "2", "--kill", "3", __file__], "--kill works with one process"),
        (["-n", "0", __file__], "--nproc=0 must be at least 1"),
        (["--kill", "-1", __file__], "--kill=-1 must be at least 0"),
        (["--times", "0", __file__], "--times=0 must be at least 1"),
        (["--batches", "0", __file__], "--batches=0 must be at least 1"),
        (["--batches-per-epoch", "0", __file__], "--batches-per-epoch=0 must be at least 1"),
        (["--at", "7", __file__], "'7' must be batches or epochs"),
    ],
)
def test_what_cannot_work_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        verify.main(words)
