"""Trying again."""

import random

import pytest

from composer.errors import ConfigError
from composer.utils import retrying
from composer.utils.retrying import retry


@pytest.fixture
def waits(monkeypatch):
    """The waits in seconds, which do not happen."""
    seen = []
    monkeypatch.setattr(retrying.time, "sleep", seen.append)
    return seen


class Flaky:
    """Fails a number of times, then returns."""

    def __init__(self, failures, error=ConnectionError):
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self, value="done"):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("not yet")
        return value


def test_it_is_called_until_it_works(waits):
    flaky = Flaky(2)
    assert retry(ConnectionError, num_attempts=3)(flaky)() == "done"
    assert flaky.calls == 3
    assert len(waits) == 2


def test_the_last_failure_is_raised(waits):
    flaky = Flaky(5)
    with pytest.raises(ConnectionError, match="not yet"):
        retry(ConnectionError, num_attempts=3)(flaky)()
    assert flaky.calls == 3
    assert len(waits) == 2


def test_other_errors_are_raised_at_once(waits):
    flaky = Flaky(1, KeyError)
    with pytest.raises(KeyError):
        retry(ConnectionError)(flaky)()
    assert flaky.calls == 1
    assert not waits


def test_several_kinds_of_error_may_be_given(waits):
    flaky = Flaky(1, KeyError)
    assert retry([ConnectionError, KeyError])(flaky)() == "done"
    assert len(waits) == 1


def test_the_wait_doubles(waits):
    retry(num_attempts=4, initial_backoff=0.5, max_jitter=0)(Flaky(3))()
    assert waits == [0.5, 1.0, 2.0]


def test_the_jitter_stays_below_its_limit(waits):
    retry(num_attempts=4, initial_backoff=0, max_jitter=0.25)(Flaky(3))()
    assert all(0 <= wait <= 0.25 for wait in waits)


def test_the_number_of_the_attempt_is_passed_on(waits):
    seen = []

    @retry(ConnectionError, num_attempts=3)
    def work(value, retry_index=0):
        seen.append((value, retry_index))
        if retry_index < 2:
            raise ConnectionError

    work("x")
    assert seen == [("x", 0), ("x", 1), ("x", 2)]


def test_the_decorator_works_without_brackets(waits):
    flaky = Flaky(1)

    @retry
    def work():
        """What it does."""
        return flaky()

    assert work() == "done"
    assert work.__doc__ == "What it does."


def test_retrying_leaves_the_global_random_state_alone(waits):
    before = random.getstate()
    retry(num_attempts=2)(Flaky(1))()
    assert random.getstate() == before


@pytest.mark.parametrize(
    "wrong", [{"num_attempts": 0}, {"initial_backoff": -1.0}, {"max_jitter": -0.1}]
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ConfigError, match="num_attempts >= 1"):
        retry(**wrong)
