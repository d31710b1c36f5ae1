"""The projection by which every place of a feature map sees its neighbours."""

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.models.importance import ImportanceSampler
from kvae.numerics.projections import ConvolutionTranspose
from tests.conformance import quick

RANDOM = np.random.default_rng(0)
LAYERS = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}


def by_hand(x, w, b):
    """The sum of the docstring, place by place."""
    places, sizes = x.shape[1:-1], w.shape[:-2]
    y = np.zeros((len(x), *places, w.shape[-2])) + b
    for t in np.ndindex(*places):
        for d in np.ndindex(*sizes):
            source = tuple(i + (k - 1) // 2 - j for i, j, k in zip(t, d, sizes, strict=True))
            if all(0 <= s < n for s, n in zip(source, places, strict=True)):
                y[(slice(None), *t)] += x[(slice(None), *source)] @ w[d].T
    return y


class ConvolutionTransposeTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        *itertools.product([(7,), (6, 5), (4, 3, 5)], [1, 2], [2, 3, 4]), ((2, 3), 1, 5), ((1, 1), 1, 3)
    )
    def test_values_and_gradients(self, places, units, size):
        layer = ConvolutionTranspose(units, size, dtype="float64")
        peer = LAYERS[len(places)](units, size, padding="same", dtype="float64")
        x = tf.constant(RANDOM.normal(size=(3, *places, 4)))
        weights = RANDOM.normal(size=(*[size] * len(places), units, 4)), RANDOM.normal(size=units)
        c = RANDOM.normal(size=(3, *places, units))
        found = []
        for one in (layer, peer):
            one.build((None, *places, 4))
            one.set_weights(weights)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = one(x)
                loss = tf.reduce_sum(c * y**2)
            found.append([y, *tape.gradient(loss, [x, one.kernel.value, one.bias.value])])
        self.assertAllClose(found[0][0], by_hand(x.numpy(), *weights), rtol=1e-12, atol=1e-12)
        for mine, theirs in zip(*found, strict=True):
            self.assertAllClose(mine, theirs, rtol=1e-10, atol=1e-10)

    def test_under_xla(self):
        layer = ConvolutionTranspose(1, 3)
        layer.build((None, 6, 5, 4))
        x = RANDOM.normal(size=(3, 6, 5, 4)).astype(np.float32)
        self.assertAllClose(tf.function(layer, jit_compile=True)(x), layer(x), rtol=1e-5, atol=1e-6)

    def test_first_weights_are_those_of_keras(self):
        """The same initializer with the same fans: the limit of the uniform distribution."""
        layer, peer = ConvolutionTranspose(1, 3), keras.layers.Conv2DTranspose(1, 3)
        for one in (layer, peer):
            one.build((None, 6, 5, 400))
        ends = [np.abs(one.kernel.numpy()).max() for one in (layer, peer)]
        self.assertAllClose(*ends, rtol=0.01)


@quick("test_trains_as_the_same_layer_in_the_decoder", "0")
class KernelSizeTest(tf.test.TestCase, parameterized.TestCase):
    def networks(self, channels=1, last=False):
        """The networks of the keras.io example, smaller; `last`: with the decoder's last layer."""
        options = {"strides": 2, "padding": "same", "activation": "relu"}
        encoder = keras.Sequential(
            [keras.Input((8, 8, channels)), keras.layers.Conv2D(4, 3, **options), keras.layers.Flatten()]
        )
        decoder = [keras.Input((2,)), keras.layers.Dense(4 * 4 * 5, "relu"), keras.layers.Reshape((4, 4, 5))]
        decoder += [keras.layers.Conv2DTranspose(6, 3, **options)]
        if last:
            decoder += [keras.layers.Conv2DTranspose(channels, 3, padding="same")]
        return encoder, keras.Sequential(decoder)

    @parameterized.parameters(1, 3)
    def test_trains_as_the_same_layer_in_the_decoder(self, channels):
        keras.utils.set_random_seed(0)
        x = (RANDOM.random((40, 8, 8, channels)) > 0.6).astype(np.float32)
        inside = kvae.VAE(*self.networks(channels, True), likelihood=kvae.likelihoods.Bernoulli(project=False))
        outside = kvae.VAE(*self.networks(channels), likelihood=kvae.likelihoods.Bernoulli(kernel_size=3))
        outside.encoder.set_weights(inside.encoder.get_weights())
        outside.posterior.set_weights(inside.posterior.get_weights())
        *decoder, kernel, bias = inside.decoder.get_weights()
        outside.decoder.set_weights(decoder)
        outside.likelihood.projection.set_weights([kernel, bias])
        losses = []
        for vae in (inside, outside):
            vae.compile(keras.optimizers.Adam(1e-2))
            losses.append(vae.fit(x, batch_size=10, epochs=5, verbose=0).history["loss"])
        self.assertLess(losses[0][-1], losses[0][0] - 0.5)
        self.assertAllClose(*losses, rtol=1e-4)
        z = RANDOM.normal(size=(3, 7, 2)).astype(np.float32)
        self.assertAllClose(inside.decode(z).mean(), outside.decode(z).mean(), atol=1e-3)

    def test_adapt_gives_the_mean_where_the_features_are_zero(self):
        vae = kvae.VAE(*self.networks(3), likelihood=kvae.likelihoods.Bernoulli(kernel_size=3))
        x = (RANDOM.random((50, 8, 8, 3)) > [0.2, 0.5, 0.9]).astype(np.float32)
        vae.adapt(x)
        p = vae.likelihood.distribution(tf.zeros((1, 8, 8, 6))).mean()
        self.assertAllClose(p, np.broadcast_to(x.mean(axis=(0, 1, 2)), (1, 8, 8, 3)), rtol=1e-4)

    def test_a_local_scale_starts_at_one_and_sees_neighbours(self):
        likelihood = kvae.likelihoods.Normal("local", kernel_size=3)
        likelihood.build(feature_shape=(5, 4), event_shape=(5,))
        features = tf.constant(RANDOM.normal(size=(1, 5, 4)).astype(np.float32))
        self.assertAllClose(likelihood.distribution(features).stddev(), np.ones((1, 5)), rtol=1e-5)
        kernel, bias = likelihood.scale_projection.get_weights()
        self.assertEqual(kernel.shape, (3, 1, 4))
        likelihood.scale_projection.set_weights([np.ones_like(kernel), bias])
        moved = tf.concat([features[:, :2], features[:, 2:3] + 1.0, features[:, 3:]], axis=1)
        change = likelihood.distribution(moved).stddev() - likelihood.distribution(features).stddev()
        self.assertAllEqual(np.abs(change[0]) > 1e-4, [False, True, True, True, False])

    def test_xla_is_left_out(self):
        """XLA's convolutions are slow on a CPU, wherever the convolution is."""
        encoder, decoder = kvae.networks.mlp((4, 4, 3), 2, hidden=(5,))
        grown = keras.layers.Reshape((4, 4, 2))(keras.layers.Dense(32)(decoder.output))
        for size in (1, 3):
            network = keras.Model(decoder.input, grown)
            vae = kvae.VAE(encoder, network, likelihood=kvae.likelihoods.Bernoulli(kernel_size=size))
            vae.compile()
            expected = size == 1 or bool(tf.config.list_physical_devices("GPU"))
            self.assertEqual((vae.jit_compile, ImportanceSampler(vae).jit), (expected, expected))

    @parameterized.parameters(
        (0, "at least 1, got 0"),
        (-1, "at least 1, got -1"),
        (2.0, "a whole number, got 2.0"),
        (True, "a whole number, got True"),
        ("3", "a whole number, got '3'"),
    )
    def test_wrong_sizes(self, size, message):
        with self.assertRaisesRegex(ValueError, f"kernel_size must be {message}"):
            kvae.likelihoods.Bernoulli(kernel_size=size)

    def test_wrong_uses(self):
        with self.assertRaisesRegex(ValueError, "kernel_size=3 is the projection's, which project=False leaves out"):
            kvae.likelihoods.Normal(kernel_size=3, project=False)
        with self.assertRaisesRegex(ValueError, r"kernel_size=3 takes a feature map .*shape \(5,\).*Leave kernel_size"):
            kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(5,)), likelihood=kvae.likelihoods.Bernoulli(kernel_size=3))
