"""Models that are ill from their training, each beside a healthy twin, and what `diagnose` says of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from sklearn.datasets import load_wine

import kvae
from kvae.evaluate import diagnose, prior_gap
from kvae.evaluate.columns import columns_of
from kvae.evaluate.prior_gaps import _mixtures
from kvae.evaluate.probe import dead_networks
from tests.conformance import make_vae

RANDOM = np.random.default_rng(0)
WINE = np.random.default_rng(0).permutation(load_wine().data)


def standardized(x) -> np.ndarray:
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def fitted(train, latent_dim=3, hidden=(32,), epochs=100, rate=2e-3, batch_size=32, callbacks=(), **parts) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp(train.shape[1:], latent_dim, hidden=hidden), **parts)
    vae.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False)
    vae.adapt(train)
    vae.fit(train, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=list(callbacks))
    return vae


class DeadTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_relu_at_a_large_rate(self):
        """The units of the encoder die in the first steps at a rate of 0.1, and not at 0.002."""
        data, said = kvae.data.load("digits", binarize="static"), []
        watch = kvae.callbacks.Diagnose(data.test, every=5, say=said.append)
        parts = {"hidden": (200, 200), "batch_size": 200, "likelihood": "bernoulli"}
        vae = fitted(data.train.x, 10, rate=0.1, epochs=10, callbacks=[watch], **parts)
        self.assertRegex(said[0], "^Epoch 10: Dead: the output of the encoder does not depend on its input")
        self.assertEqual(watch.found.faults, ("dead",))
        self.assertIn("a tenth of the learning rate, another activation", watch.found.text)
        self.assertNotIn("Train for longer", watch.found.text)
        self.assertEqual(np.ptp(vae.encode(data.test.x).mean().numpy(), axis=0).max(), 0.0)
        alive = fitted(data.train.x, 10, epochs=3, **parts)
        self.assertEqual(dead_networks(alive, data.test), ())
        self.assertNotIn("dead", diagnose(alive, data.test, probe_steps=0).faults)

    def test_what_is_said_of_it(self):
        """At the second epoch that it is found in."""
        x, vae, said = RANDOM.normal(size=(40, 6)).astype(np.float32), make_vae(), []
        watch = kvae.callbacks.Diagnose(x, every=1, say=said.append)
        watch.set_model(vae)
        watch.on_train_begin()
        watch.on_epoch_end(0)
        self.assertNotIn("dead", watch.found.faults)
        layer = vae.encoder.get_layer("hidden_1")
        layer.set_weights([layer.get_weights()[0], np.full(8, -1e3)])
        watch.on_epoch_end(1)
        watch.on_epoch_end(2)
        self.assertLen(said, 1)
        self.assertRegex(said[0], "^Epoch 3: Dead: the output of the encoder does not depend on its input")
        self.assertEqual(watch.found.faults, ("dead",))
        self.assertIn("a tenth of the learning rate, another activation", watch.found.text)
        self.assertNotIn("Train for longer", watch.found.text)

    def test_which_network(self):
        x = kvae.data.Split(RANDOM.normal(size=(20, 6)).astype(np.float32))
        for dead in (("encoder",), ("decoder",), ("encoder", "decoder")):
            vae = make_vae()
            for name in dead:
                layer = getattr(vae, name).get_layer("hidden_1")
                layer.set_weights([layer.get_weights()[0], np.full(8, -1e3)])
            self.assertEqual(dead_networks(vae, x), dead)
        self.assertEqual(dead_networks(make_vae(), x), ())
        self.assertEqual(dead_networks(make_vae(), x.first(1)), ())

    def test_a_condition_is_held(self):
        """A decoder that looks at c alone is dead, though its output differs from row to row."""
        x = kvae.data.Split(RANDOM.normal(size=(20, 6)).astype(np.float32), np.arange(20) % 3)
        vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,), condition=3))
        self.assertEqual(dead_networks(vae, x), ())
        layer = vae.decoder.get_layer("hidden_1")
        kernel, bias = layer.get_weights()
        kernel[:2] = 0.0  # z stands before c
        layer.set_weights([kernel, bias])
        self.assertEqual(dead_networks(vae, x), ("decoder",))


class OverfittingTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_a_small_table(self):
        """178 rows: after 200 epochs the ELBO of new rows has fallen; after 30 it has not."""
        x = standardized(WINE)
        train, new = x[:120], x[120:]
        vae = fitted(train, 5, (128, 128), epochs=200)
        found = diagnose(vae, new, train)
        self.assertEqual(found.faults, ("overfitting",))
        self.assertLess(found.figures["gain_by_training"].mean, 0.0)
        self.assertNotIn("Train for longer", found.text)
        self.assertEqual(diagnose(vae, new, train, probe_steps=0).text, found.text)
        self.assertIn("train=", diagnose(vae, new).text)
        early = fitted(train, 5, (128, 128), epochs=30)
        self.assertLess(found.figures["elbo"].mean, diagnose(early, new, train).figures["elbo"].mean)
        self.assertEqual(diagnose(early, new, train).faults, ())


class ColumnsTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_raw_and_standardized(self):
        """Proline has a standard deviation of 315, the others 0.1 to 14."""
        names = load_wine().feature_names
        vae = fitted(WINE[:120].astype(np.float32), epochs=150)
        found = diagnose(vae, WINE[120:].astype(np.float32), probe_steps=0, columns=names)
        self.assertEqual(found.faults, ("columns of unlike scale",))
        self.assertIn("neglects 12 of 13 columns, whose standard deviations are 0.1", found.text)
        self.assertIn("alcohol, malic_acid, ash", found.text)
        self.assertNotIn("proline", found.text)
        by_number = diagnose(vae, WINE[120:].astype(np.float32), probe_steps=0)
        self.assertIn("less than half: 0, 1, 2, 3, 4, 5, 6, 7, ....", by_number.text)
        x = standardized(WINE)
        healthy = fitted(x[:120], 5, (128, 128), epochs=30)
        self.assertEqual(diagnose(healthy, x[120:], x[:120], columns=names).faults, ())
        with self.assertRaisesRegex(ValueError, r"a name for each column, but there are 2 for x of \(13,\)"):
            diagnose(healthy, x[120:], columns=["a", "b"])

    def test_by_hand(self):
        """A decoder that says 0 with scale 2, whatever z: the errors are x itself, where it was observed."""
        vae = kvae.VAE(*kvae.networks.mlp((3,), 2, hidden=()), likelihood=kvae.likelihoods.Normal(2.0))
        vae.likelihood.projection.set_weights([np.zeros((2, 3)), np.zeros(3)])
        x = (RANDOM.normal(size=(50, 3)) * [1.0, 3.0, 0.0] + [0.0, 1.0, 0.5]).astype(np.float32)
        mask = RANDOM.random(x.shape) < 0.7
        found = columns_of(vae, kvae.data.Split(np.where(mask, x, 1e6).astype(np.float32), mask=mask))
        for j in range(3):
            seen = x[mask[:, j], j].astype(np.float64)
            self.assertAllClose(found.variance[j], seen.var(), rtol=1e-6, atol=1e-12)
            if j < 2:
                self.assertAllClose(found.r2[j], 1.0 - np.square(seen).mean() / seen.var(), rtol=1e-6)
        self.assertTrue(np.isnan(found.r2[2]))
        self.assertEqual((found.scale, found.neglected.tolist()), (2.0, [0]))

    def test_models_it_does_not_speak_of(self):
        for parts in (
            {"likelihood": kvae.likelihoods.Bernoulli}, {"likelihood": lambda: kvae.likelihoods.Normal("local")},
            {"network": "mlp_image"},
        ):  # fmt: skip
            vae = make_vae(**parts)
            x = RANDOM.integers(0, 2, (9, *vae.event_shape)).astype(np.float32)
            if "likelihood" in parts and vae.likelihood.per_element == 2:  # scales that differ, as after training
                vae.likelihood.scale_projection.set_weights(
                    [RANDOM.normal(size=w.shape) for w in vae.likelihood.scale_projection.get_weights()]
                )
            self.assertIsNone(columns_of(vae, kvae.data.Split(x)))


def circle(n, seed) -> np.ndarray:
    """Points on a closed curve in eight dimensions, with little noise."""
    random = np.random.default_rng(seed)
    phase = random.random((n, 1)) * 2 * np.pi
    waves = np.concatenate([f(k * phase) for k in (1, 2, 3, 4) for f in (np.cos, np.sin)], axis=1)
    return (waves + 0.01 * random.normal(size=waves.shape)).astype(np.float32)


class PriorGapTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_a_closed_curve(self):
        """Codes of a curve that are narrower than the prior by far; of two normal factors with noise they are not."""
        train, new = circle(500, 1), circle(200, 2)
        vae = fitted(train, 6, (64, 64), epochs=150)
        found = prior_gap(vae, train, new)
        parts = kvae.evaluate.rate(vae, new)
        self.assertLess(found.mean, parts["marginal_kl"].mean + 4 * parts["marginal_kl"].standard_error)
        self.assertGreater(found.mean, 0.4 * parts["kl"].mean)
        said = diagnose(vae, new, train, probe_steps=0)
        self.assertEqual(said.faults, ("prior gap",))
        factors = RANDOM.normal(size=(700, 2)) @ RANDOM.normal(size=(2, 8)) + 0.3 * RANDOM.normal(size=(700, 8))
        x = factors.astype(np.float32)
        healthy = fitted(x[:500], 3, (32,), epochs=80)
        self.assertEqual(diagnose(healthy, x[500:], x[:500], probe_steps=0).faults, ())
        gap = prior_gap(healthy, x[:500], x[500:])
        self.assertLess(gap.mean, 0.3 + 4 * gap.standard_error)

    def test_known_codes(self):
        """q(z|x) = N(a x + b, s^2) with x ~ N(0, 1): q(z) = N(b, a^2 + s^2), whose KL from N(0, 1) is known."""
        vae = kvae.VAE(*kvae.networks.mlp((1,), 1, hidden=()))
        a, b, s = 0.5, 1.2, 0.3
        raw = np.log(np.expm1(s - vae.posterior.floor))
        vae.posterior.projection.set_weights([np.array([[a, 0.0]]), np.array([b, raw])])
        x = RANDOM.normal(size=(4000, 1)).astype(np.float32)
        found = prior_gap(vae, x[:2000], x[2000:])
        variance = a**2 + s**2
        exact = 0.5 * (variance + b**2 - 1.0 - np.log(variance))
        self.assertLess(abs(found.mean - exact), 4 * found.standard_error)
        self.assertBetween(found.standard_error, 0.005, 0.05)

    def test_what_is_said_of_known_codes(self):
        """Noisy copies of u ~ N(0, 1), codes u + b: q(z) is nearly N(b, 1), whose KL from N(0, 1) is b^2 / 2."""
        x = (RANDOM.normal(size=(400, 1)) + 0.1 * RANDOM.normal(size=(400, 8))).astype(np.float32)
        vae = kvae.VAE(*kvae.networks.mlp((8,), 1, hidden=()), likelihood=kvae.likelihoods.Normal(0.1))
        raw = np.log(np.expm1(0.03 - vae.posterior.floor))
        for b, faults in ((0.0, ()), (1.2, ()), (3.0, ("prior gap",))):
            vae.posterior.projection.set_weights([np.repeat([[1 / 8, 0.0]], 8, axis=0), np.array([b, raw])])
            vae.likelihood.projection.set_weights([np.ones((1, 8)), np.full(8, -b)])
            found = diagnose(vae, x[200:], x[:200], probe_steps=0)
            self.assertEqual(found.faults, faults)
            gap = found.figures["prior_gap"]
            self.assertLess(abs(gap.mean - 0.5 * b**2), 4 * gap.standard_error + 0.05)
        self.assertRegex(found.text, r"^Prior gap: of the KL term of \d\.\d\d nats, \d\.\d\d are not about x")

    def test_mixtures(self):
        z, mean, scale = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(5, 3)), RANDOM.random((5, 3)) + 0.1
        log_p = np.stack([stats.norm(mean, w * scale).logpdf(z[:, None]).sum(-1) for w in (1.0, 4.0)])  # [W, M, N]
        widths = np.array([1.0, 4.0])
        self.assertAllClose(_mixtures(z, mean, scale, widths), special.logsumexp(log_p, axis=2) - np.log(5), rtol=1e-9)
        log_p[:, np.arange(5), np.arange(5)] = -np.inf
        left_out = _mixtures(z, mean, scale, widths, leave_out=True)
        self.assertAllClose(left_out, special.logsumexp(log_p, axis=2) - np.log(4), rtol=1e-9)

    def test_errors(self):
        vae = kvae.VAE(*kvae.networks.mlp((6,), 2, condition=3), prior="conditional_normal")
        x = np.zeros((4, 6), np.float32)
        with self.assertRaisesRegex(ValueError, "one prior p.z. for all; ConditionalNormal"):
            prior_gap(vae, (x, np.arange(4) % 3), (x, np.arange(4) % 3))
        with self.assertRaisesRegex(ValueError, "two examples of train or more, got 1"):
            prior_gap(make_vae(), x[:1], x)
        with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
            prior_gap(x, x, x)
        with self.assertRaisesRegex(ValueError, "seed must be a whole number"):
            prior_gap(make_vae(), x, x, seed=1.5)


if __name__ == "__main__":
    tf.test.main()
