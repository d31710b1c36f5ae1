"""Grey as it is, models of one latent dimension, labels as words, and what is said of wrong arguments."""

import io
import os

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from PIL import Image

import kvae
from kvae import plots
from kvae.plots import figures
from tests.conformance import examples, make_vae

RANDOM = np.random.default_rng(0)
X = RANDOM.random((4, 3, 2)).astype(np.float32)


def drawn(figure) -> np.ndarray:
    """The pixels of a figure, 0 to 255."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("L"))


class GreyTest(tf.test.TestCase):
    def test_black_is_the_lowest_value(self):
        """One image, half 0 and half 1: pixels of both ends, 0 drawn black, with ink drawn white."""
        x = np.zeros((1, 8, 8), np.float32)
        x[:, :, 4:] = 1.0
        for ink in (False, True):
            figure = plots.grid(x, 1, ink=ink)
            left, right = figure.axes[0].images[0].to_rgba(x[0])[0, [0, -1], 0]
            self.assertEqual((left, right), (1.0, 0.0) if ink else (0.0, 1.0))
            pixels = drawn(figure)
            self.assertEqual((pixels < 30).any(), True)
        for function in (plots.reconstructions, lambda *a, **kw: plots.worst(*a, [0.0], **kw)):
            self.assertEqual(function(x, x, ink=True).axes[0].images[0].get_cmap().name, "gray_r")
            self.assertEqual(function(x, x).axes[0].images[0].get_cmap().name, "gray")
        with self.assertRaisesRegex(ValueError, "ink must be True or False, got 'yes'"):
            plots.grid(x, ink="yes")


class LatentsTest(tf.test.TestCase):
    def test_one_latent_dimension(self):
        keras_model = kvae.VAE(*kvae.networks.mlp((3, 2), 1, hidden=(4,)))
        figure = plots.latent_plane(keras_model, size=5)
        quantiles = np.array([-1.2815516, -0.5244005, 0.0, 0.5244005, 1.2815516], np.float32)[:, None]
        means = keras_model.decode(quantiles).mean().numpy()
        self.assertAllClose([axes.images[0].get_array() for axes in figure.axes], means, atol=1e-5)
        with self.assertRaisesRegex(ValueError, "draws two latent dimensions, this model has 3. Take traversals"):
            plots.latent_plane(make_vae())
        with self.assertRaisesRegex(ValueError, r"codes have shape \(4, 1\). Give dimensions=.*a histogram"):
            plots.posteriors(np.zeros((4, 1)))

    def test_labels_as_words(self):
        """The colours are those of the words in order, and the legend names them."""
        mean, words = RANDOM.normal(size=(5, 2)), np.array(["cat", "ant", "cat", "bee", "ant"])
        numbers = np.array([2, 0, 2, 1, 0])
        for labels in (words, list(words), words.astype(object)):
            (axes,) = plots.posteriors(mean, np.ones((5, 2)), labels).axes
            self.assertEqual([text.get_text() for text in axes.get_legend().get_texts()], ["ant", "bee", "cat"])
            (other,) = plots.posteriors(mean, np.ones((5, 2)), numbers).axes
            axes.figure.canvas.draw(), other.figure.canvas.draw()
            for a, b in zip(axes.collections, other.collections, strict=True):
                self.assertAllClose(a.get_edgecolor(), b.get_edgecolor())
        with self.assertRaisesRegex(ValueError, r"one for each of the 5 codes, got shape \(3,\)"):
            plots.posteriors(mean, labels=[1, 2, 3])
        with self.assertRaisesRegex(ValueError, r"scale must have the shape of mean, \(5, 2\), got \(5, 3\)"):
            plots.posteriors(mean, np.ones((5, 3)))


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (lambda vae: plots.grid(vae), "images must be an array of numbers, got <VAE"),
        (lambda vae: plots.grid(None), "images must be an array of numbers, got None"),
        (lambda vae: plots.grid([[1, 2], [3]]), "images must be an array of numbers"),
        (lambda vae: plots.grid(X[0, 0]), r"must have shape \[N, \*event_shape\], got \(2,\). One axis is missing"),
        (lambda vae: plots.grid(X, columns=0), "columns must be at least 1, got 0"),
        (lambda vae: plots.grid(X, columns="3"), "columns must be a whole number, got '3'"),
        (lambda vae: plots.grid(X, low="a"), "low must be a finite number, got 'a'"),
        (lambda vae: plots.grid(X, low=2.0, high=1.0), "low must be below high, got 2 and 1"),
        (lambda vae: plots.reconstructions(X, X[:2]), r"a row for each of the 4 of x, got shape \(2, 3, 2\)"),
        (lambda vae: plots.worst(X, X, [1.0]), "a number for each of the 4 of x, got 1"),
        (lambda vae: plots.worst(X, X, np.zeros(4), count=0), "count must be at least 1"),
        (lambda vae: plots.latent_plane(lambda z: z, size=2.5), "size must be a whole number, got 2.5"),
        (lambda vae: plots.traversals(vae, np.zeros(3), [3]), r"numbers of latents from 0 to 2, got \(3,\)"),
        (lambda vae: plots.traversals(vae, np.zeros(3), []), r"numbers of latents from 0 to 2, got \(\)"),
        (lambda vae: plots.traversals(vae, np.zeros(3), 0, reach=0), "reach must be a finite number, 0 < reach"),
        (lambda vae: plots.interpolations(vae, np.zeros(3), np.zeros(3)), r"starts must have 2 axes, got shape \(3,\)"),
        (lambda vae: plots.interpolations(vae, np.zeros((2, 3)), np.zeros((1, 3))), r"got \(2, 3\) and \(1, 3\)"),
        (lambda vae: plots.animation(X[0]), r"must have shape \[T, N, \*event_shape\]"),
        (lambda vae: plots.animation(X[:, None], interval="1"), "interval must be a finite number"),
        (lambda vae: plots.posteriors(vae), "mean must be an array of numbers, got <VAE"),
        (lambda vae: plots.kl_bars([0.1], threshold=None), "threshold must be a finite number"),
    )
    def test_values(self, call, message):
        with self.assertRaisesRegex(ValueError, message):
            call(make_vae())

    @parameterized.parameters(
        (lambda: plots.latent_plane(X), "decode must be a kvae.VAE or a function"),
        (lambda: plots.traversals("model.keras", np.zeros(3), 0), "decode must be a kvae.VAE or .*got 'model.keras'"),
        (lambda: plots.curves(X), "history must be what fit returned"),
        (lambda: plots.kl_bars(make_vae()), "per_dimension must be what kl_per_dimension gives"),
        (lambda: plots.rate_distortion(X), "curve must be what kvae.evaluate.rate_distortion gives"),
    )
    def test_what_is_something_else(self, call, message):
        with self.assertRaisesRegex(TypeError, message):
            call()

    def test_the_callback_instead_of_its_frames(self):
        vae, frames = make_vae(network="mlp_image"), kvae.callbacks.Frames(np.zeros((2, 3), np.float32))
        vae.fit(examples(vae.likelihood, vae.event_shape), epochs=1, verbose=0, callbacks=[frames])
        path = os.path.join(self.create_tempdir().full_path, "a.gif")
        plots.animation(frames).save(path, writer="pillow", dpi=50)
        with Image.open(path) as written:
            self.assertEqual(written.n_frames, len(frames.frames))

    def test_what_cannot_be_drawn(self):
        z = np.zeros((4, 2))
        for call, message in (
            (lambda: plots.grid(X, 501), "columns must be at most 500, got 501"),
            (lambda: plots.latent_plane(make_vae(), size=101), "size must be at most 100"),
            (lambda: plots.traversals(make_vae(), z[0], 0, steps=501), "steps must be at most 500"),
            (lambda: plots.posteriors(np.full((4, 2), np.nan)), "mean holds values that are not finite"),
            (lambda: plots.posteriors(z, scale=z - 1.0), "scale holds values that are negative or not finite"),
            (lambda: plots.posteriors(z, labels=[[1], [2, 3]]), "labels must be integers or words"),
            (lambda: plots.kl_bars([1.0, "a"]), "per_dimension must be a finite number, got 'a'"),
            (lambda: plots.kl_bars([np.nan]), "per_dimension must be a finite number"),
            (lambda: plots.interpolations(lambda z: None, z, z), "What decode returns must be an array of numbers"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                call()
        figure = plots.grid(X, 500)  # no axes where there is no image
        self.assertLen(figure.axes, len(X))
        masked = np.ma.masked_array(X, X > 0.5)
        self.assertAllEqual(np.isnan(figures.as_array("x", masked)), X > 0.5)


if __name__ == "__main__":
    tf.test.main()
