"""X20: the flows' Jacobians, densities and ways back."""

import math

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kvae.numerics import flows
from kvae.numerics.bijections import elements
from tests.conformance import quick

KINDS = tuple(
    (f"{kind}_{transform}", kind == "autoregressive", transform)
    for kind in ("autoregressive", "coupling")
    for transform in ("affine", "spline")
)


def random_maps(autoregressive, transform, size, count=3, context=0, dtype="float64", spread=0.3, hidden=(12, 8)):
    """Maps whose last layers are not zero."""
    keras.utils.set_random_seed(1)
    made = flows.maps(autoregressive, count, elements(transform, 8), size, context, hidden, dtype)
    random = np.random.default_rng(2)
    for one in made:
        for weight in (one.kernels[-1], one.biases[-1], *one.biases[:-1]):
            weight.assign(random.normal(0.0, spread, weight.shape))
    return made


def numbers(rows, size, seed=3, spread=1.5):
    return tf.constant(np.random.default_rng(seed).normal(0.0, spread, (rows, size)))


def jacobian(function, x):
    """dy/dx of each row, `[N, D, D]`."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        columns = tf.unstack(function(x), axis=1)
    return np.stack([tape.gradient(column, x).numpy() for column in columns], axis=1)


@quick("test_a_density_of_two_numbers", "autoregressive_affine", "coupling_affine")
@quick("test_xla", "coupling_affine")
class FlowTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*KINDS)
    def test_jacobian(self, autoregressive, transform):
        """The log-determinants of both ways are those of autodiff's Jacobians, and the way back is the inverse."""
        for size in (1, 2, 5):
            made = random_maps(autoregressive, transform, size, context=4)
            x, c = numbers(30, size), numbers(30, 4, seed=4)
            y, log_det = flows.forward(made, x, c)
            there = jacobian(lambda x, made=made, c=c: flows.forward(made, x, c)[0], x)
            self.assertAllClose(log_det, np.linalg.slogdet(there)[1], atol=1e-9)
            again, log_back = flows.inverse(made, y, c)
            self.assertAllClose(again, x, atol=1e-8)
            self.assertAllClose(log_back, -log_det, atol=1e-7)
            back = jacobian(lambda y, made=made, c=c: flows.inverse(made, y, c)[0], y)
            self.assertAllClose(there @ back, np.tile(np.eye(size), (30, 1, 1)), atol=1e-6)

    @parameterized.named_parameters(*KINDS)
    def test_each_map_is_triangular(self, autoregressive, transform):
        """dy_i/dx_j is 0 where the degree of j is that of i or more (j not i); the orders take turns."""
        made, seen = random_maps(autoregressive, transform, 6, count=4), []
        for one in made:
            found = jacobian(lambda x, one=one: one.forward(x)[0], numbers(20, 6))
            allowed = (one.degrees[None] < one.degrees[:, None]) | np.eye(6, dtype=bool)
            self.assertAllEqual(found[:, ~allowed], np.zeros_like(found[:, ~allowed]))
            self.assertTrue((np.abs(found[:, allowed]).max(axis=0) > 0.0).all())  # and no more zeros than these
            seen.append(one.degrees.tolist())
        if autoregressive:
            self.assertEqual(seen[:2], [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
            self.assertEqual(seen[2:], [[1, 4, 2, 5, 3, 6], [6, 3, 5, 2, 4, 1]])
        else:
            self.assertEqual(seen[:2], [[1, 1, 1, 2, 2, 2], [2, 2, 2, 1, 1, 1]])
            x = numbers(20, 6)
            self.assertAllEqual(made[0].forward(x)[0][:, :3], x[:, :3])

    @parameterized.named_parameters(*KINDS)
    def test_every_number_depends_on_the_context(self, autoregressive, transform):
        made = random_maps(autoregressive, transform, 3, count=2, context=2)
        c, x = numbers(5, 2, seed=4), numbers(5, 3)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(c)
            columns = tf.unstack(flows.forward(made, x, c)[0], axis=1)
        for column in columns:
            self.assertTrue((tape.gradient(column, c).numpy() != 0.0).all())

    @parameterized.named_parameters(*KINDS)
    def test_new_maps_are_the_identity(self, autoregressive, transform):
        made = flows.maps(autoregressive, 3, elements(transform, 8), 4, 2, (9,), "float32")
        x, c = tf.cast(numbers(50, 4), tf.float32), tf.cast(numbers(50, 2), tf.float32)
        for way in (flows.forward, flows.inverse):
            y, log_det = way(made, x, c)
            if transform == "affine":
                self.assertAllEqual(y, x)
                self.assertAllEqual(log_det, tf.zeros([50]))
            self.assertAllClose(y, x, atol=5e-6, rtol=0.0)
            self.assertAllClose(log_det, tf.zeros([50]), atol=2e-5)

    @parameterized.named_parameters(*KINDS)
    def test_a_density_of_two_numbers(self, autoregressive, transform):
        """It integrates to one, as a posterior's, whose draws take one pass, and as a prior's, whose density does.

        20,000 draws have its marginals: the test of Kolmogorov and Smirnov.
        """
        made, n = random_maps(autoregressive, transform, 2, count=2, spread=0.2, hidden=(8,)), 20_000
        axis = np.linspace(-9.0, 9.0, 601)
        z = tf.constant(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1))
        eps = tf.constant(np.random.default_rng(0).normal(size=(n, 2)))
        ways = [lambda x: flows.forward(made, x), lambda x: flows.inverse(made, x)]
        for there, back in (ways, ways[::-1]):
            p = flows.Pushforward(there, back, tf.zeros([2], tf.float64))
            mass = p.prob(z).numpy() * (axis[1] - axis[0]) ** 2
            self.assertAllClose(mass.sum(), 1.0, atol=1e-4)
            found, log_p = p.drawn(eps)
            self.assertAllClose(log_p, p.log_prob(found), atol=1e-8)
            for number in range(2):
                marginal = mass.sum(axis=1 - number)
                cdf = np.cumsum(marginal) - 0.5 * marginal  # to the middle of a cell
                exact = np.interp(np.sort(found[:, number]), axis, cdf)
                distance = np.abs(exact - (np.arange(n) + 0.5) / n).max() * math.sqrt(n)
                self.assertLess(distance, 1.95)  # 0.1 % of samples are beyond it

    @parameterized.named_parameters(*KINDS)
    def test_finite_far_away(self, autoregressive, transform):
        """Value and gradient of a log-density at |z| = 3, 10 and 100, both ways."""
        made = random_maps(autoregressive, transform, 3, dtype="float32")
        weights = [w for one in made for w in one.trainable_weights]
        for way in (flows.forward, flows.inverse):
            for far in (3.0, 10.0, 100.0):
                z = tf.constant([[far, -far, far], [0.0, far, 0.0]])
                with tf.GradientTape() as tape:
                    tape.watch(z)
                    eps, log_det = way(made, z)
                    value = log_det - 0.5 * tf.reduce_sum(tf.square(eps), axis=-1)
                for found in (value, *tape.gradient(value, [z, *weights])):
                    self.assertTrue(np.isfinite(found.numpy()).all())

    @parameterized.named_parameters(*KINDS)
    def test_ten_maps_in_single_precision(self, autoregressive, transform):
        """The log-determinant of 10 maps of 16 numbers, beside double precision with the same weights."""
        found = []
        for dtype in ("float32", "float64"):
            made = random_maps(autoregressive, transform, 16, count=10, dtype=dtype, spread=0.1, hidden=(32,))
            for one, twin in zip(made, found[0][0] if found else made, strict=True):
                one.set_weights(twin.get_weights())
            x = tf.cast(tf.cast(numbers(500, 16, spread=1.0), tf.float32), dtype)
            found.append((made, flows.forward(made, x)[1].numpy()))
        error = np.abs(found[0][1] - found[1][1])
        self.assertGreater(np.abs(found[1][1]).mean(), 0.5)
        self.assertLess(error.mean(), 2e-6 if transform == "affine" else 5e-5)  # 160 element maps
        self.assertLess(error.max(), 3e-5 if transform == "affine" else 1e-3)

    @parameterized.named_parameters(*KINDS)
    def test_xla(self, autoregressive, transform):
        """Both ways with their gradients, compiled or not."""
        made = random_maps(autoregressive, transform, 4, count=2, context=2, dtype="float32", hidden=(8,))
        x, c = tf.cast(numbers(20, 4), tf.float32), tf.cast(numbers(20, 2, seed=4), tf.float32)
        weights = [w.value for one in made for w in one.trainable_weights]

        def run(x, c):
            found = []
            for way in (flows.forward, flows.inverse):
                with tf.GradientTape() as tape:
                    tape.watch([x, c])
                    y, log_det = way(made, x, c)
                    total = tf.reduce_sum(log_det + tf.reduce_sum(tf.sin(y), axis=-1))
                found += [y, log_det, *tape.gradient(total, [x, c, *weights])]
            return found

        eager = run(x, c)
        for jit in (False, True):
            for a, b in zip(tf.function(run, jit_compile=jit, autograph=False)(x, c), eager, strict=True):
                self.assertAllClose(a, b, rtol=2e-3, atol=2e-3)

    def test_networks_without_hidden_layers(self):
        made = flows.maps(True, 2, elements("affine", 8), 3, 2, (), "float64")
        x, c = numbers(5, 3), numbers(5, 2, seed=4)
        self.assertAllEqual(flows.forward(made, x, c)[0], x)
        for one in made:
            for weight in one.trainable_weights:
                weight.assign(np.random.default_rng(0).normal(0.0, 0.5, weight.shape))
        y, log_det = flows.forward(made, x, c)
        found = jacobian(lambda x: flows.forward(made, x, c)[0], x)
        self.assertAllClose(log_det, np.linalg.slogdet(found)[1], atol=1e-9)
        self.assertAllClose(flows.inverse(made, y, c)[0], x, atol=1e-8)

    def test_numbers_broadcast(self):
        """z of every draw in the q of every example, as in an aggregated posterior."""
        made = random_maps(True, "spline", 3, context=2)
        z, c = numbers(7, 3), numbers(5, 2, seed=4)
        eps, log_det = flows.inverse(made, z[:, None], c)
        self.assertEqual((eps.shape, log_det.shape), ([7, 5, 3], [7, 5]))
        for i in range(5):
            one, log_one = flows.inverse(made, z, tf.repeat(c[i : i + 1], 7, axis=0))
            self.assertAllClose(eps[:, i], one, atol=1e-10)
            self.assertAllClose(log_det[:, i], log_one, atol=1e-10)

    def test_weights_are_tracked(self):
        class Holder(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.maps = random_maps(True, "affine", 3, count=2, context=2)

        self.assertLen(Holder().trainable_weights, 2 * 7)
