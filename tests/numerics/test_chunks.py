"""Functions of many rows, some rows at a time."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kvae.numerics.chunks import in_chunks, map_chunks


def cumulated(x):
    """A function that acts on each row by itself, and not on single elements."""
    return tf.cumsum(tf.exp(x), axis=1)[:, ::-1]


class PartsTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(total=(1, 5, 7, 12), rows=(1, 3, 4, 12))
    def test_together_and_apart(self, total, rows):
        x = np.random.default_rng(0).normal(size=(total, 4, 2)).astype("f")
        expected = np.cumsum(np.exp(x), axis=1)[:, ::-1]
        compiled = tf.function(lambda x: map_chunks(cumulated, x, rows), jit_compile=True)
        self.assertAllClose(in_chunks(cumulated, tf.constant(x), rows=rows), expected, rtol=1e-6)
        self.assertAllClose(map_chunks(cumulated, tf.constant(x), rows), expected, rtol=1e-6)
        self.assertAllClose(compiled(tf.constant(x)), expected, rtol=1e-6)

    def test_the_function_never_sees_more(self):
        seen = []

        def function(x, beside=None):
            seen.append(x.shape[0])
            return x

        in_chunks(function, tf.zeros([10, 2]), rows=4)
        self.assertEqual(seen, [4, 4, 2])
        seen.clear()
        tf.function(lambda x: map_chunks(function, x, 4))(tf.zeros([10, 2]))
        self.assertEqual(set(seen), {4})


if __name__ == "__main__":
    tf.test.main()
