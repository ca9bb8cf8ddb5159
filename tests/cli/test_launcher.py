"""The launcher, from the command line to the last process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from composer.cli import launcher
from composer.cli.gpus import count_gpus
from composer.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONTRACT = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK"),
    *("MASTER_ADDR", "MASTER_PORT", "PYTHONUNBUFFERED", "TORCH_NCCL_ASYNC_ERROR_HANDLING"),
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CONTRACT, "BASE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def script(tmp_path: Path):
    def write(text: str, name: str = "script.py") -> str:
        path = tmp_path / name
        path.write_text(dedent(text))
        return str(path)

    return write


def launch(*words: str, cwd: Path | None = None, timeout_s: float = 60):
    return subprocess.run(
        [sys.executable, "-m", "composer.cli.launcher", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


REPORT = """
    import json, os, sys
    from pathlib import Path
    names = sys.argv[2].split(",")
    told = {name: os.environ.get(name) for name in names}
    Path(sys.argv[1], os.environ["RANK"]).write_text(json.dumps([told, sys.argv[3:]]))
    print("to the terminal from", os.environ["RANK"])
"""


# What each process is told


def test_every_process_is_told_its_place(script, tmp_path: Path):
    done = launch("-n", "2", script(REPORT), str(tmp_path), ",".join(CONTRACT), "--lr", "-n", "9")
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / rank).read_text()) for rank in "01"]
    assert [rest for _, rest in told] == [["--lr", "-n", "9"]] * 2
    port = told[0][0]["MASTER_PORT"]
    assert 0 < int(port) < 65536
    for rank in (0, 1):
        assert told[rank][0] == {
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": "2",
            "NODE_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "PYTHONUNBUFFERED": "1",
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
        }


def test_only_local_rank_zero_writes_to_the_terminal(script, tmp_path: Path):
    done = launch("-n", "2", script(REPORT), str(tmp_path), "RANK")
    assert done.stdout == "to the terminal from 0\n"
    assert done.stderr == ""


def test_other_ranks_write_to_named_files(script, tmp_path: Path):
    template = str(tmp_path / "logs" / "{rank}-{local_rank}-{world_size}-{node_rank}.txt")
    done = launch("-n", "3", "--stdout", template, script(REPORT), str(tmp_path), "RANK")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "1-1-3-0.txt",
        "2-2-3-0.txt",
    ]
    assert (tmp_path / "logs" / "1-1-3-0.txt").read_text() == "to the terminal from 1\n"


def test_one_file_can_take_the_output_of_all(script, tmp_path: Path):
    one = str(tmp_path / "all.txt")
    launch("-n", "3", "--stdout", one, "--stderr", one, script(REPORT), str(tmp_path), "RANK")
    lines = sorted(Path(one).read_text().splitlines())
    assert lines == ["to the terminal from 1", "to the terminal from 2"]


def test_a_module_is_launched_by_name(script, tmp_path: Path):
    script(REPORT, "some_module.py")
    done = launch("-n", "2", "-m", "some_module", str(tmp_path), "RANK", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "1").exists()


def test_a_command_is_launched_without_python(tmp_path: Path):
    done = launch("-n", "2", "-c", "sh", "-c", "echo $RANK > out$RANK", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"out{rank}").read_text() for rank in "01"] == ["0\n", "1\n"]


# Failures


def test_the_failing_rank_is_reported_first_and_gives_the_exit_code(script):
    text = """
        import os, sys, time
        if os.environ["RANK"] == "1":
            print("last words")
            raise ValueError("paper")
        time.sleep(60)
    """
    done = launch("-n", "3", script(text))
    assert done.returncode == 1
    assert done.stderr.startswith("composer: rank 1 failed with exit code 1\n")
    assert "last words" in done.stderr
    assert "ValueError: paper" in done.stderr
    assert "composer: ending rank 0, 2" in done.stderr
    assert "rank 0 failed" not in done.stderr


def test_the_exit_code_is_that_of_the_first_failure(script):
    text = """
        import os, sys, time
        from pathlib import Path
        marker = Path(sys.argv[1])
        if os.environ["RANK"] == "1":
            marker.touch()
            sys.exit(7)
        while not marker.exists():
            time.sleep(0.01)
        time.sleep(0.2)
        sys.exit(9)
    """
    path = script(text)
    done = launch("-n", "2", path, str(Path(path).parent / "marker"))
    assert done.returncode == 7
    first, second = re.findall(r"rank (\d) failed with exit code (\d)", done.stderr)
    assert (first, second) == (("1", "7"), ("0", "9"))


def test_a_process_killed_by_a_signal_counts_as_failed(script):
    done = launch("-n", "1", script("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert done.returncode == 128 + signal.SIGKILL
    assert "rank 0 failed with exit code 137" in done.stderr


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _until(condition) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

STUBBORN = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    folder = Path(sys.argv[1])
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "polite" in sys.argv:
        def leave(number, frame):
            Path(folder, f"left{os.environ['RANK']}").touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
    if "saving" in sys.argv:
        def save(number, frame):
            if os.environ["RANK"] == "1":
                time.sleep(1.5)  # the other waits for no one
            Path(folder, f"saved{os.environ['RANK']}").touch()
            sys.exit(75)
        signal.signal(signal.SIGTERM, save)
        signal.signal(signal.SIGUSR1, save)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    ready = folder / f"pids{os.environ['RANK']}.tmp"
    ready.write_text(f"{os.getpid()} {child.pid}")
    ready.rename(ready.with_suffix(""))
    if "first" in sys.argv and os.environ["RANK"] == "0":
        while not (folder / "pids1").exists():
            time.sleep(0.01)
        os.kill(int((folder / "pids1").read_text().split()[0]), signal.SIGTERM)
        sys.exit(75)
    if "fail" in sys.argv and os.environ["RANK"] == "1":
        while not (folder / "pids0").exists():
            time.sleep(0.01)
        sys.exit(3)
    time.sleep(100)
"""


def _pids(folder: Path) -> list[int]:
    assert _until(lambda: all((folder / f"pids{rank}").exists() for rank in "01"))
    return [int(pid) for rank in "01" for pid in (folder / f"pids{rank}").read_text().split()]


@linux
def test_after_a_failure_nothing_is_left_running(script, tmp_path: Path):
    done = launch(
        "-n", "2", "--grace_period", "0.3", script(STUBBORN), str(tmp_path), "deaf", "fail"
    )
    assert done.returncode == 3
    assert "rank 0 did not end, killing it" in done.stderr
    assert not any(map(_alive, _pids(tmp_path)))


# Signals


@pytest.fixture
def running(script, tmp_path: Path) -> Iterator:
    started: list[subprocess.Popen] = []

    def start(*words: str):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "composer.cli.launcher", "-n", "2"),
                *("--grace_period", "10", script(STUBBORN), str(tmp_path), *words),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process, _pids(tmp_path)

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_processes(running, number: signal.Signals):
    process, pids = running()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"{number.name} received" in errors
    assert not any(map(_alive, pids))


@linux
def test_processes_may_finish_their_work_after_sigterm(running, tmp_path: Path):
    process, pids = running("polite")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (tmp_path / "left0").exists()
    assert (tmp_path / "left1").exists()
    assert not any(map(_alive, pids))


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_processes_that_were_asked_for_room_may_save_and_their_code_is_passed_on(
    running, tmp_path: Path, number: signal.Signals
):
    process, pids = running("saving")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"{number.name} received" in errors
    assert (tmp_path / "saved0").exists()
    assert (tmp_path / "saved1").exists()
    assert not any(map(_alive, pids))


@linux
def test_when_one_has_saved_and_left_the_others_are_waited_for(running, tmp_path: Path):
    process, pids = running("saving", "first")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert (tmp_path / "saved1").exists()
    assert "failed" not in errors
    assert not any(map(_alive, pids))


@linux
def test_those_that_do_not_save_in_time_are_killed(script, tmp_path: Path):
    done = launch(
        "-n", "2", "--save_period", "0.5", script(STUBBORN), str(tmp_path), "deaf", "first"
    )
    assert done.returncode == 75
    assert not any(map(_alive, _pids(tmp_path)))


@linux
def test_a_second_signal_kills_at_once(running):
    process, pids = running("deaf")
    process.send_signal(signal.SIGTERM)
    line = process.stderr.readline()
    assert "SIGTERM received" in line
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=8)
    assert not any(map(_alive, pids))


@linux
def test_processes_end_when_the_launcher_is_killed(running):
    process, pids = running()
    process.kill()
    process.wait()
    assert _until(lambda: not _alive(pids[0]) and not _alive(pids[2]))
    for pid in (pids[1], pids[3]):  # only their own children know nothing of it
        os.kill(pid, signal.SIGKILL)


# The command line


def _layout(*words: str) -> launcher.Layout:
    return launcher.resolve_layout(launcher.make_parser().parse_args([*words, "script.py"]))


def test_one_machine_needs_nothing_but_the_number():
    layout = _layout("-n", "4")
    assert (layout.nproc, layout.world_size, layout.base_rank, layout.node_rank) == (4, 4, 0, 0)
    assert layout.master_addr == "127.0.0.1"
    assert _layout("-n", "4", "--master_port", "1234").master_port == 1234


def test_the_number_comes_from_the_environment_or_the_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launcher, "count_gpus", lambda: 8)
    assert _layout().nproc == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert _layout().nproc == 3
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setattr(launcher, "count_gpus", lambda: 0)
    assert _layout().nproc == 1


MULTI = ("-n", "2", "--world_size", "8", "--master_addr", "host", "--master_port", "99")


def test_first_rank_and_node_follow_from_each_other():
    assert _layout(*MULTI, "--node_rank", "3").base_rank == 6
    assert _layout(*MULTI, "--base_rank", "4").node_rank == 2
    assert _layout(*MULTI, "--base_rank", "4").variables(1)["RANK"] == "5"


def test_unequal_machines_need_both():
    words = ("-n", "2", "--world_size", "7", "--master_addr", "host", "--master_port", "99")
    layout = _layout(*words, "--base_rank", "5", "--node_rank", "1")
    assert (layout.base_rank, layout.node_rank) == (5, 1)
    with pytest.raises(ConfigError, match="give both"):
        _layout(*words, "--node_rank", "1")


def test_the_environment_stands_in_for_options(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "WORLD_SIZE": "8",
        "BASE_RANK": "4",
        "MASTER_ADDR": "host",
        "MASTER_PORT": "99",
    }.items():
        monkeypatch.setenv(name, value)
    layout = _layout("-n", "4")
    assert (layout.base_rank, layout.node_rank, layout.master_port) == (4, 1, 99)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-n", "0"), "--nproc=0"),
        (("-n", "4", "--world_size", "2"), "less than --nproc=4"),
        (("-n", "2", "--world_size", "4"), "--node_rank or --base_rank"),
        (("-n", "2", "--world_size", "4", "--node_rank", "1"), "--master_addr and --master_port"),
        (("-n", "2", "--node_rank", "1"), "Give --world_size"),
        ((*MULTI, "--node_rank", "4"), "ranks 8 to 9"),
        (("-n", "1", "--master_port", "70000"), "from 1 to 65535"),
    ],
)
def test_contradictions_are_refused(words: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        _layout(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-n", "1", "no_such_script.py"), "there is no script 'no_such_script.py'"),
        (("-n", "1", "-c", "no_such_command"), "there is no command 'no_such_command'"),
        (("-n", "2", "--stdout", "{rnk}", __file__), "known fields are {rank}"),
        (("-n", "x", __file__), "invalid int value"),
        (("-n", "1", "-m", "-c", "x"), "not allowed with"),
        (("-n", "2", "--stdout", f"{__file__}/x", __file__), "cannot write output"),
    ],
)
def test_a_wrong_command_line_starts_nothing(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
):
    try:
        code = launcher.main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_main_can_be_called_from_python(script, tmp_path: Path):
    before = signal.getsignal(signal.SIGINT)
    assert launcher.main(["-n", "2", "-v", script(REPORT), str(tmp_path), "RANK"]) == 0
    assert signal.getsignal(signal.SIGINT) is before
    assert launcher.main(["-n", "1", script("raise SystemExit(4)")]) == 4


def test_help_needs_no_torch():
    code = (
        "import sys, composer.cli.launcher as l\n"
        "try: l.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--master_port" in done.stdout


def test_counting_gpus_agrees_with_torch():
    import torch

    assert count_gpus() == torch.cuda.device_count()


# Training processes

TRAIN = """
    import os, torch
    import composer.utils.dist as dist
    dist.initialize_dist("cpu", timeout=60)
    total = torch.tensor(float(dist.get_global_rank() + 1))
    dist.all_reduce(total)
    places = dist.all_gather_object((dist.get_local_rank(), dist.get_node_rank()))
    if dist.get_global_rank() == 0:
        print(total.item(), dist.get_world_size(), dist.get_local_world_size(), places)
"""
EXPECTED = "3.0 2 2 [(0, 0), (1, 0)]"


def test_launched_processes_can_speak_with_each_other(script):
    done = launch("-n", "2", script(TRAIN))
    assert done.returncode == 0, done.stderr
    assert EXPECTED in done.stdout


def test_the_rank_that_breaks_is_blamed_not_the_one_that_waits_for_it(script):
    text = (
        TRAIN
        + """
    if dist.get_global_rank() == 1:
        raise ValueError("out of paper")
    dist.all_reduce(total)
"""
    )
    done = launch("-n", "2", script(text))
    assert done.returncode == 1
    assert "ValueError: out of paper" in done.stderr
    assert re.findall(r"rank (\d) failed", done.stderr)[0] == "1"


def test_processes_of_torchrun_can_speak_with_each_other(script):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", script(TRAIN)),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert EXPECTED in done.stdout
