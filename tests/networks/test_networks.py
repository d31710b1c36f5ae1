"""Networks for any event shape."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae


class NetworksTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        shape=[(28, 28, 1), (7, 5, 3), (1, 1, 1), (2, 9, 1), (13,), (11, 2)], filters=[(4,), (4, 5), (3, 4, 5)]
    )
    def test_conv_fits_any_size(self, shape, filters):
        encoder, decoder = kvae.networks.conv(shape, 3, filters=filters, dense=6)
        self.assertEqual(encoder.output_shape, (None, 6))
        place = shape[:-1] if len(shape) > 1 else shape
        self.assertEqual(decoder.output_shape, (None, *place, filters[0]))
        vae = kvae.VAE(encoder, decoder, likelihood="bernoulli")
        self.assertEqual(vae.reconstruct(np.zeros((2, *shape), np.float32)).shape, (2, *shape))

    def test_conv_reaches_every_pixel(self):
        """The gradient of every output pixel with respect to z is not zero, the cropped edge among them."""
        _, decoder = kvae.networks.conv((7, 5, 1), 3, filters=(4, 5), activation="tanh")
        z = tf.constant([[0.3, -0.2, 0.5]])
        with tf.GradientTape() as tape:
            tape.watch(z)
            out = tf.reduce_sum(decoder(z), axis=-1)
        self.assertTrue((np.abs(tape.jacobian(out, z).numpy()).sum(axis=(0, 3, 4)) > 0).all())

    def test_linear_networks_have_no_weights(self):
        encoder, decoder = kvae.networks.mlp((3, 2), 4, hidden=())
        self.assertEqual((encoder.count_params(), decoder.count_params()), (0, 0))
        self.assertEqual((encoder.output_shape, decoder.output_shape), ((None, 6), (None, 4)))

    def test_mlp_sizes(self):
        encoder, decoder = kvae.networks.mlp((28, 28, 1), 16, hidden=(400, 200))
        self.assertEqual(encoder.count_params(), 784 * 400 + 400 + 400 * 200 + 200)
        self.assertEqual(decoder.count_params(), 16 * 200 + 200 + 200 * 400 + 400)

    def test_functions_as_activations(self):
        """A function or a layer is what the units go through; one that changes shape or dtype is none."""
        x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
        for activation in (tf.math.sin, abs, lambda h: h**2, keras.layers.Rescaling(3.0)):
            encoder, _ = kvae.networks.mlp((4,), 2, hidden=(3,), activation=activation)
            kernel, bias = encoder.get_layer("hidden_1").get_weights()
            self.assertAllClose(encoder(x), activation(tf.constant(x @ kernel + bias)), rtol=1e-5)
        for activation in (np.sin, "glu", lambda h: 1, lambda h: h[..., :2], lambda h: tf.cast(h, tf.int32)):
            with self.assertRaisesRegex(ValueError, "that keeps the shape and the dtype of a tensor"):
                kvae.networks.mlp((4,), 2, hidden=(4,), activation=activation)

    def test_projection_of_a_map_is_the_same_everywhere(self):
        _, decoder = kvae.networks.conv((6, 6, 2), 3, filters=(4,))
        likelihood = kvae.likelihoods.Bernoulli()
        likelihood.build(feature_shape=decoder.output_shape[1:], event_shape=(6, 6, 2))
        self.assertEqual(likelihood.projection.kernel.shape, (4, 2))


class ResnetTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ((28, 28, 1), (4,), "batch"),
        ((7, 5, 3), (4, 6, 6), None),
        ((1, 1, 1), (4,), "group"),
        ((13,), (4, 6, 6), "layer"),
        ((11, 2), (4,), None),
    )
    @pytest.mark.slow
    def test_fits_any_size(self, shape, filters, normalization):
        options = {"filters": filters, "dense": 6, "normalization": normalization, "skips": normalization is None}
        encoder, decoder = kvae.networks.resnet(shape, 3, **options)
        self.assertEqual(encoder.output_shape, (None, 6))
        place = shape[:-1] if len(shape) > 1 else shape
        self.assertEqual(decoder.output_shape, (None, *place, filters[0]))
        vae = kvae.VAE(encoder, decoder, likelihood="bernoulli")
        self.assertEqual(vae.reconstruct(np.zeros((2, *shape), np.float32)).shape, (2, *shape))

    def test_a_silent_block_is_the_identity(self):
        """With zeros in the last convolution of every block that keeps the size, blocks=2 is blocks=0."""
        plain, _ = kvae.networks.resnet((8, 8, 1), 3, filters=(4, 6), blocks=0)
        deep, _ = kvae.networks.resnet((8, 8, 1), 3, filters=(4, 6), blocks=2)
        adds = [i for i, layer in enumerate(deep.layers) if isinstance(layer, keras.layers.Add)]
        kept = []
        for add in (deep.layers[i] for i in adds):
            shortcut, last = (tensor._keras_history.operation for tensor in add.input)
            if isinstance(shortcut, keras.layers.Add):  # nothing in between: the shortcut is the identity
                last.set_weights([np.zeros_like(w) for w in last.get_weights()])
            else:
                kept.append(add)
        self.assertLen(kept, 2)
        self.assertLen(adds, 6)
        inside = {id(layer) for add in kept for layer in _branch(add)}
        weighty = [layer for layer in deep.layers if layer.weights]
        copied = [
            w
            for layer in weighty
            if id(layer) in inside or layer.name in ("stem", "dense")
            for w in layer.get_weights()
        ]
        plain.set_weights(copied)
        x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
        self.assertAllClose(deep(x), plain(x), rtol=1e-5, atol=1e-6)

    def test_skips_reach_every_level(self):
        """With the first dense layer silenced z still moves the output, and only with skips."""
        z = tf.random.stateless_normal([2, 3], [0, 1])
        for skips in (False, True):
            _, decoder = kvae.networks.resnet((8, 8, 1), 3, filters=(4, 6), skips=skips)
            dense = decoder.get_layer("dense")
            dense.set_weights([np.zeros_like(w) for w in dense.get_weights()])
            out = decoder(z).numpy()
            self.assertEqual(bool(np.abs(out[0] - out[1]).max() > 1e-3), skips)
        self.assertLen([layer for layer in decoder.layers if isinstance(layer, keras.layers.Dense)], 2 + 3)

    @pytest.mark.slow
    def test_batch_statistics_move_in_fit_and_rest_in_evaluate(self):
        networks = kvae.networks.resnet((6, 5, 1), 2, filters=(4,), dense=6, normalization="batch", dropout=0.2)
        vae = kvae.VAE(*networks, likelihood="bernoulli")
        vae.compile(jit_compile=False)
        x = (np.random.default_rng(0).random((20, 6, 5, 1)) > 0.5).astype(np.float32)
        moving = [w for w in vae.non_trainable_weights if "moving_mean" in w.path]
        before = [w.numpy() for w in moving]
        vae.evaluate(x, verbose=0)
        for a, b in zip(before, moving, strict=True):
            self.assertAllEqual(a, b)
        vae.fit(x, batch_size=10, epochs=1, verbose=0)
        self.assertNotEmpty(moving)
        for a, b in zip(before, moving, strict=True):
            self.assertNotAllEqual(a, b)

    @parameterized.parameters(
        ({"blocks": -1}, "blocks"),
        ({"bottleneck": 0}, "bottleneck"),
        ({"normalization": "layers"}, "normalization"),
        ({"dropout": 1.0}, "dropout"),
        ({"filters": ()}, "resnet needs at least one level"),
    )
    def test_wrong_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            kvae.networks.resnet((8, 8, 1), 2, **arguments)

    def test_classes_are_seen_one_hot(self):
        """Numbers first, as they came; of the classes what `Categorical` shows, k / (K - 1)."""
        layer = kvae.networks.OneHot((0, 3, 0, 2))
        x = np.array([[0.5, 0.5, -2.0, 1.0], [7.0, 1.0, 0.0, 0.0], [1.0, 0.0, 3.0, 1.0]], np.float32)
        expected = [[0.5, -2, 0, 1, 0, 0, 1], [7, 0, 0, 0, 1, 1, 0], [1, 3, 1, 0, 0, 0, 1]]
        self.assertAllEqual(layer(x), expected)
        self.assertEqual(layer.compute_output_shape((None, 4)), (None, 7))
        encoder, _ = kvae.networks.mlp((4,), 2, hidden=(5,), mask=True, classes=(0, 3, 0, 2))
        self.assertEqual(encoder.count_params(), (7 + 4) * 5 + 5)
        again = keras.Model.from_config(encoder.get_config())
        again.set_weights(encoder.get_weights())
        self.assertAllEqual(again([x, x > 0.0]), encoder([x, x > 0.0]))
        plain, _ = kvae.networks.mlp((4,), 2, hidden=(5,), classes=(0, 0, 0, 0))
        self.assertEqual(plain.count_params(), 4 * 5 + 5)


def _branch(add):
    """The layers between a block's addition and the one before it, the shortcut's own among them."""
    found, open_ends = [], [tensor._keras_history.operation for tensor in add.input]
    while open_ends:
        layer = open_ends.pop()
        if isinstance(layer, keras.layers.Add) or layer.name in ("stem", "map"):
            continue
        found.append(layer)
        tensors = layer.input if isinstance(layer.input, list) else [layer.input]
        open_ends += [tensor._keras_history.operation for tensor in tensors]
    return found
