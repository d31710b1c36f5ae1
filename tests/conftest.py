"""What every test shares."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from absl import flags
from absl.testing import absltest  # noqa: F401  (defines the flags below)

flags.FLAGS.mark_as_parsed()  # absltest's temporary directories read --test_tmpdir


def pytest_collection_modifyitems(items):
    """tf.test.TestCase brings a method `test_session` that is no test and reports itself as skipped."""
    items[:] = [item for item in items if item.name != "test_session"]
    gc.freeze()  # what is imported stays: no collection need look at it
    gc.set_threshold(20_000, 10, 50)  # a graph is many objects, and each collection looks at those of all before


SHORT = {"anomaly", "compress", "evaluate", "likelihoods", "models", "objectives", "posteriors", "priors"}


@pytest.fixture(autouse=True)
def _short_trainings_without_xla(request):
    """In these folders a model takes XLA only if told to. tests/training trains as users do."""
    if request.path.parent.name not in SHORT:
        yield
        return
    from tests.conformance import without_xla

    with without_xla():
        yield
