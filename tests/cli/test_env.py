"""`composer env` describes the installation."""

import json

import pytest

from composer.cli.main import main
from composer.env import all_variables
from composer.utils import collect_env
from composer.utils.collect_env import get_composer_env_dict


def test_env_prints_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collect_env, "_torch_report", lambda: "TORCH")
    assert main(["env"]) == 0
    assert "TORCH" in capsys.readouterr().out


def test_env_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == get_composer_env_dict()


def test_env_lists_variables_without_their_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLACK_LOGGING_API_KEY", "a-secret")
    assert main(["env", "--variables"]) == 0
    printed = capsys.readouterr().out
    assert "SLACK_LOGGING_API_KEY (set)" in printed
    assert "a-secret" not in printed
    assert all(variable.name in printed for variable in all_variables())


def test_env_refuses_other_words() -> None:
    with pytest.raises(SystemExit):
        main(["env", "--nonsense"])
