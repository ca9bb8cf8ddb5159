"""Imports of what may be missing, and of what is named by text."""

import math
import pathlib
import pickle

import pytest

from composer.errors import ConfigError, MissingDependencyError
from composer.utils.import_helpers import (
    MissingConditionalImportError,
    import_extra,
    import_object,
)


def test_a_missing_package_names_the_extra():
    with pytest.raises(ImportError, match=r"pip install 'composer-ml\[vision\]'") as caught:
        import_extra("surely_not_installed.transforms", "vision")
    assert isinstance(caught.value, MissingDependencyError)
    assert "'surely_not_installed'" in str(caught.value)


def test_the_distribution_is_named_where_it_differs_from_the_module():
    with pytest.raises(ImportError, match="'a-package'"):
        import_extra("surely_not_installed", "extra", package="a-package")


def test_an_installed_module_is_returned():
    assert import_extra("json.decoder", "extra").__name__ == "json.decoder"


def test_a_module_that_fails_on_an_import_of_its_own_says_so(tmp_path, monkeypatch):
    (tmp_path / "half_broken.py").write_text("import another_missing_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_missing_module") as caught:
        import_extra("half_broken", "extra")
    assert not isinstance(caught.value, MissingDependencyError)


def test_the_error_names_conda_where_a_channel_is_known():
    error = MissingConditionalImportError("nlp", "transformers")
    assert "conda install -c conda-forge transformers" in str(error)
    assert "conda" not in str(MissingConditionalImportError("nlp", "transformers", None))


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(MissingConditionalImportError("nlp", "transformers")))
    assert (error.extra_deps_group, error.conda_package) == ("nlp", "transformers")


def test_an_object_is_imported_by_name():
    assert import_object("math:pi") == math.pi
    assert import_object("pathlib:Path.cwd")() == pathlib.Path.cwd()


@pytest.mark.parametrize("name", ["math.pi", "math:", ":pi", ""])
def test_a_name_without_module_or_object_is_refused(name):
    with pytest.raises(ConfigError, match="module:object"):
        import_object(name)


def test_a_wrong_object_gets_a_near_name():
    with pytest.raises(AttributeError, match="Did you mean 'floor'"):
        import_object("math:flooor")


def test_a_wrong_module_is_an_import_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_object("no_such_module:thing")
