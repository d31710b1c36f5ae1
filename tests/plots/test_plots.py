"""What is drawn: the numbers in the figures, in their order."""

import os

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import kvae
from kvae import plots
from kvae.evaluate.estimates import Estimate
from tests.conformance import examples, make_vae

RANDOM = np.random.default_rng(0)


def images(figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


class GridsTest(tf.test.TestCase):
    X = RANDOM.random((7, 3, 2, 1)).astype(np.float32)

    def test_grid(self):
        figure = plots.grid(self.X, columns=4, low=0.2, high=0.7)
        self.assertAllClose(images(figure), np.clip(self.X[..., 0], 0.2, 0.7))
        self.assertLen(figure.axes, 7)
        self.assertEqual(figure.axes[0].images[0].get_clim(), (0.2, 0.7))

    def test_shapes_of_examples(self):
        shapes = {(9,): (3, 3), (7,): (1, 7), (4, 3): (4, 3), (4, 3, 3): (4, 3, 3), (2, 2, 2): (1, 8)}
        for shape, drawn in shapes.items():
            x = RANDOM.random((2, *shape)).astype(np.float32)
            self.assertAllClose(images(plots.grid(x, low=0.0, high=1.0)), x.reshape(2, *drawn))

    def test_reconstructions(self):
        means = 1.0 - self.X
        drawn = images(plots.reconstructions(self.X, means, columns=4))
        order = [*self.X[:4], *means[:4], *self.X[4:], *means[4:]]
        self.assertAllClose(drawn, np.stack(order)[..., 0])

    def test_colours(self):
        """Matplotlib takes colours in [0, 1] alone: those of 0 to 255, or of -1 to 1, are brought there."""
        for low, high, dtype in ((0, 255, np.uint8), (-1.0, 1.0, np.float32)):
            x = np.linspace(low, high, 2 * 3 * 3 * 3).reshape(2, 3, 3, 3).astype(dtype)
            drawn = np.stack(images(plots.grid(x)))
            self.assertAllClose(drawn, (x.astype(np.float32) - low) / (high - low), atol=1e-6)

    def test_the_worst_of_masked_examples(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, vae.event_shape, n=5)
        mask = np.random.default_rng(1).random(x.shape) < 0.6
        split = kvae.data.Split(np.where(mask, x, 99.0).astype(np.float32), mask=mask)
        scores = np.array([3.0, 1.0, 2.0, 0.0, 4.0])
        drawn = images(plots.worst(split, vae, scores, count=2))[2:]
        means = vae.reconstruct(x, mask=mask).numpy()[[3, 1]]
        self.assertAllClose(np.stack(drawn).reshape(2, -1), means.reshape(2, -1), atol=1e-6)

    def test_curves_of_epochs_that_were_validated(self):
        history = {"elbo": list(range(6)), "val_elbo": [1.0, 3.0, 5.0]}
        self.assertAllEqual(plots.curves(history).axes[0].lines[1].get_xdata(), [2, 4, 6])
        whole = keras.callbacks.History()
        whole.history = history
        self.assertAllEqual(plots.curves(whole).axes[0].lines[0].get_xdata(), np.arange(1, 7))
        with self.assertRaisesRegex(ValueError, r"this one has \['loss'\]"):
            plots.curves({"loss": [1.0]})

    def test_splits_and_errors(self):
        split = kvae.data.from_arrays(self.X[:, :, :, 0], validation=0.0).train
        self.assertAllClose(images(plots.grid(split)), self.X[..., 0])
        self.assertAllClose(images(plots.reconstructions(split, self.X[..., 0], 7))[7:], self.X[..., 0])
        self.assertAllClose(images(plots.grid(split.first(3))), self.X[:3, ..., 0])
        with self.assertRaisesRegex(ValueError, "n must be at least 1, got -2"):
            split.first(-2)
        with self.assertRaisesRegex(ValueError, "no images"):
            plots.grid([])
        with self.assertRaisesRegex(ValueError, "no frames"):
            plots.animation([])
        with self.assertRaisesRegex(ValueError, "the codes have shape \\(4, 1\\)"):
            plots.posteriors(np.zeros((4, 1)))

    def test_worst(self):
        scores = np.array([3.0, -1.0, 2.0, 5.0, -4.0, 0.0, 1.0])
        drawn = images(plots.worst(self.X, 1.0 - self.X, scores, count=3))
        order = [4, 1, 5]
        self.assertAllClose(drawn, np.concatenate([self.X[order], 1.0 - self.X[order]])[..., 0])

    def test_a_model_instead_of_means(self):
        vae = make_vae(network="mlp_image")
        x = examples(vae.likelihood, vae.event_shape, n=5)[..., :1].repeat(2, axis=-1)
        scores = vae.elbo(x).numpy()
        for a, b in ((plots.reconstructions(x, vae), plots.reconstructions(x, vae.reconstruct(x).numpy())),
                     (plots.worst(x, vae, scores, 2), plots.worst(x, vae.reconstruct(x), scores, 2))):  # fmt: skip
            self.assertAllClose(images(a), images(b), atol=1e-5)

    def test_latent_plane(self):
        """At the quantiles: first axis to the right, second axis upwards."""
        drawn = np.stack(images(plots.latent_plane(lambda z: z[:, None, :], size=3)))
        quantile = 0.967421566
        self.assertAllClose(drawn[0], [[-quantile, quantile]], atol=1e-6)
        self.assertAllClose(drawn[4], [[0.0, 0.0]], atol=1e-6)
        self.assertAllClose(drawn[5], [[quantile, 0.0]], atol=1e-6)

    def test_traversals(self):
        code = np.array([0.1, 0.2, 0.3])
        drawn = np.stack(images(plots.traversals(lambda z: z[:, None, :], code, [2, 0], steps=3, reach=2.0)))[:, 0]
        rows = [[0.1, 0.2, -2], [0.1, 0.2, 0], [0.1, 0.2, 2], [-2, 0.2, 0.3], [0, 0.2, 0.3], [2, 0.2, 0.3]]
        self.assertAllClose(drawn, rows, atol=1e-6)

    def test_interpolations(self):
        vae = make_vae()
        starts, ends = RANDOM.normal(size=(2, 2, 3))
        drawn = images(plots.interpolations(vae, starts, ends, steps=3))
        z = np.stack([starts[0], (starts[0] + ends[0]) / 2, ends[0], starts[1], (starts[1] + ends[1]) / 2, ends[1]])
        self.assertAllClose(np.stack(drawn)[:, 0], vae.decode(z.astype(np.float32)).mean(), atol=1e-5)


class CurvesTest(tf.test.TestCase):
    def test_curves(self):
        history = {"elbo": [1.0, 2.0], "val_elbo": [0.5, 1.5], "reconstruction": [3.0, 4.0], "kl": [2.0, 2.0]}
        history |= {"loss": [9.0, 9.0], "beta": [0.0, 1.0], "learning_rate": [0.1, 0.01]}
        figure = plots.curves(history)
        titles = [axes.get_title() for axes in figure.axes]
        self.assertEqual(titles, ["elbo, nats", "reconstruction, nats", "kl, nats", "beta", "learning rate"])
        lines = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
        self.assertEqual(lines[:2], [[[1.0, 2.0], [0.5, 1.5]], [[3.0, 4.0]]])
        self.assertEqual(lines[3:], [[[0.0, 1.0]], [[0.1, 0.01]]])
        autoencoder = plots.curves({"loss": [1.0], "reconstruction": [-1.0]})
        self.assertEqual([axes.get_title() for axes in autoencoder.axes], ["reconstruction, nats"])

    def test_kl_bars(self):
        estimates = [Estimate(v, e, 0.0, 1.0, "nats") for v, e in ((0.2, 0.1), (1.0, 0.3), (0.0, 0.0))]
        (axes,) = plots.kl_bars(estimates).axes
        self.assertEqual([bar.get_height() for bar in axes.patches], [1.0, 0.2, 0.0])
        self.assertEqual([label.get_text() for label in axes.get_xticklabels()], ["1", "0", "2"])
        (errors,) = axes.containers[0].lines[2]
        self.assertAllClose([segment[:, 1] for segment in errors.get_segments()], [[0.7, 1.3], [0.1, 0.3], [0.0, 0.0]])

    def test_rate_distortion(self):
        points = [[Estimate(v, 0.1, 0.0, 1.0, "nats") for v in values] for values in ((1.0, 2.0), (9.0, 5.0))]
        curve = kvae.evaluate.RateDistortion(np.array([0.5, 1.0]), *points)
        (axes,) = plots.rate_distortion(curve, own=(2.5, 5.5)).axes
        self.assertEqual(axes.lines[0].get_xydata().tolist(), [[1.0, 9.0], [2.0, 5.0]])
        self.assertEqual(axes.lines[-1].get_xydata().tolist(), [[2.5, 5.5]])
        self.assertEqual([text.get_text() for text in axes.texts], ["0.5", "1"])

    def test_posteriors(self):
        mean, scale = RANDOM.normal(size=(6, 3)), RANDOM.random((6, 3))
        for labels in (None, np.array([0, 1, 2, 0, 1, 2])):
            figure = plots.posteriors(mean, scale, labels, dimensions=(2, 0))
            (axes,) = figure.axes
            points, ellipses = axes.collections
            self.assertAllClose(points.get_offsets(), mean[:, [2, 0]])
            self.assertAllClose(ellipses.get_offsets(), mean[:, [2, 0]])
            self.assertAllClose(ellipses.get_widths(), 2 * scale[:, 2])
            self.assertAllClose(ellipses.get_heights(), 2 * scale[:, 0])
            figure.savefig(os.devnull, format="png")
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        self.assertEqual([int("".join(filter(str.isdigit, name))) for name in names], [0, 1, 2])
        self.assertLen(plots.posteriors(mean).axes[0].collections, 1)


class AnimationTest(tf.test.TestCase):
    def test_frames_of_a_training(self):
        vae = make_vae(network="mlp_image")
        x = examples(vae.likelihood, vae.event_shape, n=20)
        z = RANDOM.normal(size=(4, 3)).astype(np.float32)
        frames = kvae.callbacks.Frames(z, every=2)
        before = vae.decode(z).mean().numpy()
        vae.fit(x, epochs=5, verbose=0, callbacks=[frames])
        self.assertLen(frames.frames, 3)  # before, after epochs 2 and 4
        self.assertAllClose(frames.frames[0], before)
        self.assertNotAllClose(frames.frames[1], before, atol=1e-4)
        with self.assertRaisesRegex(ValueError, "every must be at least 1, got 0"):
            kvae.callbacks.Frames(every=0)

    def test_written(self):
        frames = np.zeros((3, 2, 4, 4), np.float32)
        frames[1, 0] = frames[2, 1] = 1.0
        path = os.path.join(self.create_tempdir().full_path, "a.gif")
        for ink in (True, False):
            plots.animation(frames, columns=2, ink=ink).save(path, writer="pillow", dpi=50)
            with Image.open(path) as shown:
                self.assertEqual(shown.n_frames, 3)
                written = [(shown.seek(number), np.asarray(shown.convert("L")))[1] for number in range(3)]
            dark = []
            for pixels in written:
                middle = pixels.shape[1] // 2
                dark.append(tuple(bool((half < 128).mean() > 0.3) for half in (pixels[:, :middle], pixels[:, middle:])))
            ones = [(False, False), (True, False), (False, True)]  # in which half there is a 1
            self.assertEqual(dark, [tuple(half == ink for half in halves) for halves in ones])


if __name__ == "__main__":
    tf.test.main()
