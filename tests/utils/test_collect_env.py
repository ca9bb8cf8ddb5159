"""The report about machine and installation, and the exception hook that prints it."""

import io
import json
import os
import subprocess
import sys

import pytest

from composer.utils import collect_env
from composer.utils.collect_env import get_composer_env_dict, print_env

FAILING = (
    "from composer.utils import collect_env\n"
    "collect_env._torch_report = lambda: 'TORCH'\n"
    "{setup}\n"
    "raise {error}('the original error')"
)


def stderr_of(setup: str, error: str = "ValueError", **environment: str) -> str:
    """What a program prints that configures the hook and then fails."""
    code = FAILING.format(setup=setup, error=error)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode != 0
    return done.stderr


def test_the_short_report_is_json_and_complete() -> None:
    report = get_composer_env_dict()
    assert json.loads(json.dumps(report)) == report
    assert list(report) == [
        "composer_version",
        "composer_commit_hash",
        "host_processor_model_name",
        "host_processor_core_count",
        "local_world_size",
        "accelerator_model_name",
        "cuda_device_count",
    ]


def test_the_short_report_counts_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_composer_env_dict()["local_world_size"] == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert get_composer_env_dict()["local_world_size"] == 4


def test_the_long_report_is_printed_to_the_given_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_env, "_torch_report", lambda: "TORCH")
    file = io.StringIO()
    print_env(file)
    assert file.getvalue().endswith("TORCH\n")
    assert "Composer version: " in file.getvalue()


def test_the_long_report_goes_to_standard_output_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collect_env, "_torch_report", lambda: "TORCH")
    print_env()
    assert "TORCH" in capsys.readouterr().out


def test_torch_adds_its_own_report() -> None:
    assert "PyTorch version" in collect_env._torch_report()


def test_a_failing_program_prints_the_error_first_and_the_report_after() -> None:
    printed = stderr_of("collect_env.configure_excepthook()")
    assert printed.index("the original error") < printed.index("Composer version")


def test_the_report_is_printed_once_however_often_the_hook_is_configured() -> None:
    printed = stderr_of("collect_env.configure_excepthook();collect_env.configure_excepthook()")
    assert printed.count("Composer version") == 1


def test_without_the_hook_nothing_is_added() -> None:
    assert "Composer version" not in stderr_of("pass")


def test_the_report_can_be_switched_off() -> None:
    setup = "collect_env.configure_excepthook();collect_env.disable_env_report()"
    assert "Composer version" not in stderr_of(setup)


def test_the_report_can_be_switched_off_from_outside_and_on_again() -> None:
    setup = "collect_env.configure_excepthook()"
    assert "Composer version" not in stderr_of(setup, COMPOSER_ENV_REPORT="0")
    setup += ";collect_env.enable_env_report()"
    assert "Composer version" in stderr_of(setup, COMPOSER_ENV_REPORT="0")


def test_an_interrupt_gets_no_report() -> None:
    assert "Composer version" not in stderr_of(
        "collect_env.configure_excepthook()", error="KeyboardInterrupt"
    )


def test_a_failing_report_does_not_hide_the_error() -> None:
    setup = "collect_env.configure_excepthook();collect_env._processor_name = lambda: 1 / 0"
    printed = stderr_of(setup)
    assert "the original error" in printed
    assert "ZeroDivisionError" in printed


def test_ipython_gets_its_own_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        handled: object = None

        def set_custom_exc(self, kinds: object, handler: object) -> None:
            self.handled = (kinds, handler)

    shell = Shell()
    module = type(sys)("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    before = sys.excepthook
    collect_env.configure_excepthook()
    assert sys.excepthook is before
    assert shell.handled == ((Exception,), collect_env._ipython_handler)


def test_a_folder_outside_any_repository_has_no_commit(tmp_path) -> None:
    assert collect_env._checkout_hash(tmp_path) is None
