"""What every test shares."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import flags
from absl.testing import absltest  # noqa: F401  (defines the flags below)

flags.FLAGS.mark_as_parsed()  # absltest's temporary directories read --test_tmpdir


def pytest_collection_modifyitems(items):
    """tf.test.TestCase brings a method `test_session` that is no test and reports itself as skipped."""
    items[:] = [item for item in items if item.name != "test_session"]
    gc.freeze()  # what is imported stays: no collection need look at it
    gc.set_threshold(20_000, 10, 50)  # a graph is many objects, and each collection looks at those of all before
