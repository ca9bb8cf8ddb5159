"""The warnings."""

import pickle
import warnings

import pytest

from composer.utils.warnings import (
    NoEffectWarning,
    NotIntendedUseWarning,
    VersionedDeprecationWarning,
    warning_on_one_line,
)


def test_a_deprecation_says_when_the_thing_goes():
    with pytest.warns(VersionedDeprecationWarning, match=r"Use b\. It .* in Composer 2\.0\.0\."):
        warnings.warn(VersionedDeprecationWarning("Use b.", "2.0.0"), stacklevel=1)


def test_a_deprecation_is_visible_without_any_filter():
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.warn(VersionedDeprecationWarning("Use b.", "2.0.0"), stacklevel=1)
    assert len(caught) == 1


def test_a_deprecation_survives_pickling():
    copy = pickle.loads(pickle.dumps(VersionedDeprecationWarning("Use b.", "2.0.0")))
    assert (copy.message, copy.remove_version) == ("Use b.", "2.0.0")


@pytest.mark.parametrize("category", [NoEffectWarning, NotIntendedUseWarning])
def test_the_warnings_of_methods_are_warnings(category):
    with pytest.warns(category, match="nothing to do"):
        warnings.warn("nothing to do", category, stacklevel=1)


def test_a_warning_fits_on_one_line():
    line = warning_on_one_line("careful", UserWarning, "file.py", 7)
    assert line == "UserWarning: careful (source: file.py:7)\n"
