"""What `import composer` offers."""

import re

import composer


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", composer.__version__)


def test_packages_can_be_reached_as_attributes() -> None:
    assert composer.core.event.Event is composer.Event
