"""Nothing in the repository depends on the machine on which it was written."""

import re
import subprocess
from pathlib import Path

from tests.house.source import REPOSITORY

# Written in pieces, so that this file does not find itself.
FOREIGN = re.compile(
    "|".join(
        [
            r"(?<![\w.])/wor" + r"k/",  # home of a build machine
            r"(?<![\w.])/roo" + r"t/",
            r"(?<![\w.])/home/" + r"(?!user\b|me\b)\w",
            r"registry\.npm" + r"js\.org",  # whoever builds chooses the package index
            r"files\.python" + r"hosted\.org",
            r"pypi\.or" + r"g/simple",
        ]
    )
)


def repository_files() -> list[Path]:
    """Files under version control; all of tests and package where git is not to be had."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode == 0 and done.stdout:
        paths = [REPOSITORY / name for name in done.stdout.split("\0") if name]
        return [path for path in paths if path.is_file()]
    folders = ("composer", "tests", "tools", "examples", "docs")
    return [path for name in folders for path in (REPOSITORY / name).rglob("*") if path.is_file()]


def foreign_words(text: str) -> list[str]:
    return [match.group() for match in FOREIGN.finditer(text)]


def test_no_file_names_a_machine_or_a_package_index() -> None:
    found = {}
    for path in repository_files():
        try:
            words = foreign_words(path.read_text("utf-8"))
        except UnicodeDecodeError:
            continue  # a picture or another binary file
        if words:
            found[str(path.relative_to(REPOSITORY))] = sorted(set(words))
    assert found == {}


def test_a_machine_path_is_caught() -> None:
    assert foreign_words("see /wor" + "k/main/x.py or /roo" + "t/.cache") == [
        "/wor" + "k/",
        "/roo" + "t/",
    ]


def test_paths_that_only_look_alike_pass() -> None:
    assert foreign_words("s3://bucket/wor" + "k/a, ./wor" + "k/, https://pypi.org/project/x") == []
