"""Random numbers: their distribution, and that they do not depend on how they are drawn."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

from kvae.numerics import noise
from tests.conformance import quick

DRAWS = {"normal": (noise.normal, stats.norm.cdf), "uniform": (noise.uniform, stats.uniform.cdf)}


@quick("test_many_seeds", "4", "15", "19")
class NoiseTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(kind=list(DRAWS), size=[1, 3, 4, 10], dtype=["float32", "float64"])
    def test_distribution(self, kind, size, dtype):
        draw, cdf = DRAWS[kind]
        x = draw(5, 1, 0, 20_000, size, dtype).numpy()
        self.assertEqual(x.dtype, dtype)
        self.assertGreater(stats.kstest(x.ravel(), cdf).pvalue, 1e-3)
        if size > 1:  # 4 standard errors of a correlation, within rows and between neighbouring rows
            correlations = np.corrcoef(np.concatenate([x[:-1], x[1:]], axis=1).T) - np.eye(2 * size)
            self.assertLess(np.abs(correlations).max(), 4.5 / np.sqrt(len(x)))

    @parameterized.product(kind=list(DRAWS), dtype=["float32", "float64"])
    def test_rows_do_not_depend_on_the_draw(self, kind, dtype):
        draw = DRAWS[kind][0]
        whole = draw(5, 1, 0, 100, 7, dtype).numpy()
        for first, rows in ((0, 1), (40, 60), (99, 1)):
            part = draw(5, 1, first, rows, 7, dtype).numpy()  # the last place depends on the CPU's vectors
            self.assertAllClose(part, whole[first : first + rows], rtol=0, atol=4 * np.finfo(dtype).eps)
        for seed, stream in ((6, 1), (5, 2), (-5, 1), (5, -1)):
            self.assertLess(np.mean(draw(seed, stream, 0, 100, 7, dtype).numpy() == whole), 0.01)

    @parameterized.named_parameters((kind, kind) for kind in DRAWS)
    def test_graph_and_xla_agree_with_eager(self, kind):
        draw = DRAWS[kind][0]
        eager = draw(5, 1, 3, 50, 7).numpy()
        for jit in (False, True):
            function = tf.function(lambda first: draw(5, 1, first, 50, 7), jit_compile=jit)
            self.assertAllClose(function(tf.constant(3)), eager, rtol=0, atol=2e-6 if jit else 0)

    @parameterized.parameters(0, 5, -5, 2**40 + 3)
    def test_the_form_for_xla_is_the_same_generator(self, seed):
        for first, stream in ((0, 1), (2**33, -4), (7, 2**35)):
            expected = noise.uniform(seed, stream, first, 30, 9).numpy()
            with noise.under_xla():
                self.assertAllEqual(noise.uniform(seed, stream, first, 30, 9), expected)
                jitted = tf.function(lambda: noise.uniform(seed, stream, first, 30, 9), jit_compile=True)  # noqa: B023
                self.assertAllEqual(jitted(), expected)

    @parameterized.product(kind=list(DRAWS), dtype=["float32", "float64"])
    def test_several_streams_at_once(self, kind, dtype):
        """Their rows are those of each stream by itself."""
        draw, streams, firsts, rows = DRAWS[kind][0], (3, -(2**40), 3), (0, 2**33, 5), (40, 1, 30)
        expected = np.concatenate([draw(5, *one, 7, dtype) for one in zip(streams, firsts, rows, strict=True)])
        self.assertAllClose(draw(5, streams, firsts, rows, 7, dtype), expected, rtol=0, atol=4 * np.finfo(dtype).eps)
        with noise.under_xla():
            jitted = tf.function(lambda: draw(5, streams, firsts, rows, 7, dtype), jit_compile=True)
            self.assertAllClose(jitted(), expected, rtol=0, atol=2e-6)

    @parameterized.parameters("float32", "float64")
    def test_box_muller(self, dtype):
        u = np.split(noise.uniform(5, 1, 0, 4096, 4, dtype).numpy().astype(np.float64), 2, axis=1)
        radius, angle = np.sqrt(-2 * np.log(u[0])), 2 * np.pi * (u[1] - 0.5)
        expected = np.concatenate([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
        z = noise.normal(5, 1, 0, 4096, 4, dtype)
        self.assertAllClose(z, expected, rtol=0, atol=20 * np.finfo(dtype).eps)

    @parameterized.parameters((1, 7), (300, 5), (41, 20))
    def test_many_normals_are_the_same_ones(self, rows, size):
        expected = noise.normal(5, -4, 1000, rows, size)
        self.assertAllClose(noise.many_normals(5, -4, 1000, rows, size), expected, rtol=0, atol=2e-6)

    @parameterized.product(rows=[1, 3], size=[1, 4, 5, 16, 20], dtype=["float32", "float64"])
    def test_many_seeds(self, rows, size, dtype):
        """Each seed's numbers are `normal`'s, to the last place; and the same bits in every company."""
        seeds = np.concatenate([[0, 1, -1, 2**31 - 1, -(2**31)], np.arange(100) * 7919]).astype(np.int32)
        draw = tf.function(lambda seeds: noise.normal_of_seeds(seeds, -4, 7, rows, size, dtype), reduce_retracing=True)
        whole = draw(tf.constant(seeds)).numpy()
        expected = [noise.normal(int(seed), -4, 7, rows, size, dtype) for seed in seeds]
        self.assertAllClose(whole, expected, rtol=0, atol=8 * np.finfo(dtype).eps)
        self.assertEqual(whole.dtype, dtype)
        for some in (seeds[:1], seeds[3:40], seeds[::-1]):
            at = [int(np.flatnonzero(seeds == seed)[0]) for seed in some]
            self.assertAllEqual(draw(tf.constant(some)), whole[at])

    def test_uniform_is_open(self):
        u = noise.uniform(0, 1, 0, 1000, 1000).numpy()
        self.assertGreater(u.min(), 0.0)
        self.assertLess(u.max(), 1.0)

    def test_seeds_of_64_bits(self):
        a, b = (noise.normal(seed, 1, 0, 4, 4).numpy() for seed in (1, 1 + 2**40))
        self.assertNotAllEqual(a, b)
