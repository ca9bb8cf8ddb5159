"""Whole programs that a scheduler takes the machine from, under the launcher and under torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import psutil
import pytest
import torch

ROOT = Path(__file__).parents[2]
LAUNCHERS = {
    "composer": ["composer.cli.launcher", "-n", "2"],
    "torchrun": ["torch.distributed.run", "--nproc_per_node", "2", "--standalone"],
}
SCRIPT = """
    import sys, time
    from pathlib import Path
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from composer.core.callback import Callback
    from composer.models.tasks.classification import ComposerClassifier
    from composer.trainer.trainer import Trainer
    from composer.utils import dist

    class Slow(Callback):
        def batch_start(self, state, logger):
            time.sleep(float(sys.argv[2]))
            Path(sys.argv[1], "began").touch()

    torch.manual_seed(0)
    data = TensorDataset(torch.randn(96, 4), torch.randint(0, 2, (96,)))
    model = ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)
    sampler = dist.get_sampler(data, shuffle=True)
    trainer = Trainer(
        model=model, train_dataloader=DataLoader(data, 4, sampler=sampler, num_workers=1),
        max_duration="3ep", optimizers=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        device="cpu", callbacks=[Slow()], save_folder=sys.argv[1], save_interval="100ep",
        run_name="run", autoresume=True, progress_bar=False, seed=3,
    )
    trainer.fit()
    trainer.save_checkpoint(f"{sys.argv[1]}/last.pt", weights_only=True)
    trainer.close()
"""


def start(launcher: str, folder: Path, pause_s: float) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    script = folder.parent / "train.py"
    script.write_text(dedent(SCRIPT))
    return subprocess.Popen(
        [sys.executable, "-m", *LAUNCHERS[launcher], str(script), str(folder), str(pause_s)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, errors = process.communicate(timeout=170)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, errors


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.pt")["state"]["model"]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 150
    while not path.exists():
        assert process.poll() is None, end_of(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("launcher", ["composer", pytest.param("torchrun", marks=pytest.mark.full)])
def test_a_program_that_must_go_saves_and_is_the_same_run_when_it_comes_back(
    launcher: str, tmp_path: Path
) -> None:
    process = start(launcher, tmp_path / "run", 0.1)
    wait_for(tmp_path / "run" / "began", process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    code, errors = end_of(process)
    # torchrun has a code of its own for every end by a signal.
    assert code == 75 if launcher == "composer" else code != 0, errors
    assert "stopped and saved at epoch" in errors
    assert not (tmp_path / "run" / "last.pt").exists()
    code, errors = end_of(start(launcher, tmp_path / "run", 0.0))
    assert code == 0, errors
    code, errors = end_of(start(launcher, tmp_path / "straight", 0.0))
    assert code == 0, errors
    one, other = weights(tmp_path / "run"), weights(tmp_path / "straight")
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_signal_to_every_process_there_is_saves_all_the_same(tmp_path: Path) -> None:
    process = start("composer", tmp_path / "run", 0.1)
    wait_for(tmp_path / "run" / "began", process)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 4  # two ranks and a worker of each
    for each in [psutil.Process(process.pid), *children]:
        each.send_signal(signal.SIGTERM)
    code, errors = end_of(process)
    assert code == 75, errors
    assert "stopped and saved" in errors
