"""Posteriors over codes: rounding and nearest codewords against NumPy, their gradients, and the codebook's moves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.numerics import codes, noise
from kvae.posteriors import FiniteScalar, VectorQuantized
from tests.conformance import quick

LEVELS = [(8, 6, 5), (5, 5), (2,), (3, 2, 4), (7, 5, 5, 5, 5), (256,)]


def built(posterior, positions=1):
    latent_dim = positions * posterior.dim
    posterior.build(feature_shape=(latent_dim,), latent_dim=latent_dim)
    return posterior


def finite_scalar(levels, positions=1, **options):
    return built(FiniteScalar(levels, project=False, **options), positions)


def vector_quantized(positions=1, seed=0, **options):
    posterior = built(VectorQuantized(**({"codes": 6, "dim": 2} | options), project=False), positions)
    posterior.codebook.assign(np.random.default_rng(seed).normal(size=posterior.codebook.shape))
    return posterior


def autoregressive():
    return kvae.priors.Codes("autoregressive", units=8, layers=1, heads=2)


def started(posterior):
    """As it is after the first step, which replaces all codewords."""
    posterior.updates.assign(1)
    return posterior


class FiniteScalarTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*((levels,) for levels in LEVELS))
    def test_it_is_the_formula_and_reaches_all_codes(self, levels):
        """By NumPy in float64, away from the edges; and every code of prod(levels) is that of some u."""
        u = np.random.default_rng(0).normal(size=(500, len(levels))) * 2.0
        expected, edge = np.empty(u.shape), np.zeros(len(u), bool)
        for j, count in enumerate(levels):
            half, offset = 1.001 * (count - 1) / 2, 0.0 if count % 2 else 0.5
            bound = np.tanh(u[:, j] + (0.0 if count == 2 else np.arctanh(offset / half))) * half - offset
            edge |= np.abs(np.abs(bound - np.round(bound)) - 0.5) < 1e-3
            expected[:, j] = (np.round(bound) + offset) / ((count - 1) / 2)
        q = finite_scalar(levels).of(tf.constant(u, tf.float32))
        self.assertAllClose(q.mean()[~edge], expected[~edge], atol=1e-6)
        self.assertGreater((~edge).mean(), 0.5)

        posterior = finite_scalar(levels)
        all_codes = np.arange(np.prod(levels))[:, None]
        z = posterior.code(all_codes)
        target = z.numpy().astype(np.float64)
        reach = np.empty(target.shape)
        for j, count in enumerate(levels):  # the u in the middle of each level, by the inverse
            half, offset = 1.001 * (count - 1) / 2, 0.0 if count % 2 else 0.5
            level = target[:, j] * (count - 1) / 2 - offset
            reach[:, j] = np.arctanh((level + offset) / half) - (0.0 if count == 2 else np.arctanh(offset / half))
        found = posterior.of(tf.constant(reach, tf.float32))
        self.assertAllEqual(found.indices, all_codes)
        self.assertAllEqual(found.mean(), z)

    @parameterized.parameters(*((levels,) for levels in LEVELS))
    def test_index_and_code_are_inverse(self, levels):
        """For all codes, at two positions; the number is that of `np.ravel_multi_index`."""
        posterior = finite_scalar(levels, positions=2)
        numbers = np.arange(posterior.codes)
        indices = np.stack([numbers, numbers[::-1]], axis=1)
        z = posterior.code(indices)
        self.assertAllEqual(posterior.index(z), indices)
        digits = np.stack(np.unravel_index(numbers, levels), axis=1)
        self.assertAllClose(z[:, : len(levels)], 2.0 * digits / (np.array(levels) - 1) - 1.0, atol=1e-6)
        self.assertAllEqual(posterior.of(z * 0.0 + 100.0).mean(), tf.ones_like(z) * z[-1, 0])
        self.assertLessEqual(np.abs(z).max(), 1.0)

    def test_zero_gives_the_middle(self):
        posterior = finite_scalar((8, 5, 2, 4, 3))
        indices = posterior.of(tf.zeros([1, 5])).indices.numpy()[:, 0]
        self.assertAllEqual(np.stack(np.unravel_index(indices, (8, 5, 2, 4, 3)), 1), [[4, 2, 1, 2, 1]])

    @parameterized.parameters(2, 3, 4, 5, 8)
    def test_no_level_is_left_out(self, count):
        """Of u ~ N(0, 1) the levels' entropy is at least 0.95 of log L, for two levels too."""
        u = np.random.default_rng(0).normal(size=(20_000, 1)).astype(np.float32)
        indices = finite_scalar((count,)).of(u).indices.numpy()[:, 0]
        part = np.bincount(indices, minlength=count) / len(u)
        self.assertGreater(-(part * np.log(part)).sum() / np.log(count), 0.95)

    def test_the_gradient_is_that_of_the_bound(self):
        """Of z by u: the derivative of tanh(u + s) h 2 / (L - 1) by finite differences; the rounding is passed."""
        levels, u = (8, 5, 2), np.random.default_rng(1).normal(size=(40, 3))
        posterior, variable = finite_scalar(levels), tf.Variable(u, dtype=tf.float32)
        with tf.GradientTape() as tape:
            z = posterior.of(variable).mean()
        gradient = tape.gradient(z, variable)
        for j, count in enumerate(levels):
            half, offset = 1.001 * (count - 1) / 2, 0.0 if count % 2 else 0.5
            shift = 0.0 if count == 2 else np.arctanh(offset / half)
            slope = (np.tanh(u[:, j] + shift + 1e-5) - np.tanh(u[:, j] + shift - 1e-5)) / 2e-5 * half * 2 / (count - 1)
            self.assertAllClose(gradient[:, j], slope, rtol=1e-4, atol=1e-5)

    def test_a_bfloat16_encoder_reaches_all_codes(self):
        """Under mixed_bfloat16 all 1,000, though bfloat16 itself counts no further than 256."""
        self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy().name)
        keras.config.set_dtype_policy("mixed_bfloat16")
        networks = kvae.networks.mlp((6,), 4, hidden=(16,))
        posterior = FiniteScalar((8, 5, 5, 5))
        vae = kvae.VAE(*networks, posterior, prior=kvae.priors.Codes())
        self.assertEqual(vae.encoder.output.dtype, "bfloat16")
        numbers = np.arange(1000)
        features = np.zeros((1000, 16), np.float32)
        features[:, :4] = np.arctanh(0.9 * posterior.code(numbers[:, None]).numpy() / 1.001)
        features[:, 0] -= np.arctanh(0.5 / (1.001 * 3.5))
        posterior.projection.set_weights([np.eye(16, 4), np.zeros(4)])
        q = posterior.distribution(tf.cast(features, tf.bfloat16))
        self.assertEqual((q.dtype, q.mean().dtype), (tf.float32, tf.float32))
        self.assertLen(np.unique(q.indices.numpy()), 1000)
        self.assertLess(len(np.unique(tf.cast(tf.cast(numbers, tf.bfloat16), tf.float32).numpy())), 600)

    def test_what_is_not_finite_stays_so(self):
        q = finite_scalar((5, 4)).of(tf.constant([[np.nan, 0.0], [np.inf, -np.inf]]))
        self.assertAllEqual(np.isnan(q.mean()), [[True, False], [False, False]])
        self.assertAllInRange(q.indices.numpy(), 0, 19)


class VectorQuantizedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(False, True)
    def test_it_takes_the_nearest_codeword(self, jit):
        posterior = vector_quantized(codes=40, dim=3)
        x = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
        distance = np.square(x[:, None].astype(np.float64) - posterior.codebook.numpy()[None]).sum(-1)
        nearest = tf.function(codes.nearest, jit_compile=jit)(x, tf.convert_to_tensor(posterior.codebook))
        self.assertAllEqual(nearest, distance.argmin(1))
        q = posterior.of(x)
        self.assertAllEqual(q.mean(), posterior.codebook.numpy()[distance.argmin(1)])
        self.assertAllEqual(posterior.index(q.mean()), q.indices)
        self.assertAllEqual(posterior.code(q.indices), q.mean())

    @parameterized.parameters(False, True)
    def test_ties_go_to_the_first(self, jit):
        """Of equal codewords anywhere in the book, and half-way between two."""
        codebook = np.random.default_rng(0).normal(size=(37, 16)).astype(np.float32)
        codebook[[20, 36]] = codebook[3]
        x = codebook + 1e-3
        between = 0.5 * (codebook[:1] + codebook[1:2])
        found = tf.function(codes.nearest, jit_compile=jit)(np.concatenate([x, between]), codebook).numpy()
        self.assertAllEqual(found[[3, 20, 36]], [3, 3, 3])
        self.assertAllEqual(np.delete(found[:37], [3, 20, 36]), np.delete(np.arange(37), [3, 20, 36]))
        self.assertEqual(found[37], 0)

    def test_the_gradient_of_the_encoder_is_the_identity(self):
        """Of any function of z, exactly, and none reaches the codewords."""
        posterior, x = vector_quantized(positions=2), tf.random.stateless_normal([5, 4], [0, 1])
        slope = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            tape.watch(posterior.codebook.value)
            total = tf.reduce_sum(slope * posterior.of(x).mean())
        gradient, of_codebook = tape.gradient(total, [x, posterior.codebook.value])
        self.assertAllEqual(gradient, slope)
        self.assertIsNone(of_codebook)

    def test_commitment_is_a_sum_and_pulls_the_encoder_alone(self):
        posterior, x = vector_quantized(positions=2, commitment=0.7), tf.random.stateless_normal([5, 4], [0, 1])
        with tf.GradientTape() as tape:
            tape.watch(x)
            q = posterior.of(x)
            penalty = posterior.penalty(q)
        away = x.numpy() - q.mean().numpy()
        self.assertAllClose(penalty, 0.7 * np.square(away).sum(1), rtol=1e-6)
        self.assertAllClose(tape.gradient(penalty, x), 2 * 0.7 * away, rtol=1e-5)
        self.assertIsNone(vector_quantized(commitment=0.0).penalty(q))

    def test_decay_zero_is_a_step_of_k_means(self):
        """The codewords become the weighted means of what was given to them; one without examples stays."""
        posterior = started(vector_quantized(positions=2, decay=0.0, restart=0.0))
        before = posterior.codebook.numpy()
        before[5] = 50.0  # out of reach
        posterior.codebook.assign(before)
        random = np.random.default_rng(0)
        x, weight = random.normal(size=(60, 4)).astype(np.float32), random.choice([0.0, 1.0, 2.5], 60)
        q = posterior.of(x)
        posterior.update(q, tf.constant(weight))
        rows, each, numbers = x.reshape(-1, 2), np.repeat(weight, 2), q.indices.numpy().reshape(-1)
        for k in range(5):
            mean = np.average(rows[numbers == k], axis=0, weights=each[numbers == k])
            self.assertAllClose(posterior.codebook.numpy()[k], mean, rtol=1e-5, atol=1e-6)
        self.assertAllEqual(posterior.codebook.numpy()[5], before[5])
        self.assertAllClose(posterior.counts, np.bincount(numbers, each, 6), rtol=1e-6)
        self.assertEqual(int(posterior.updates), 2)

    def test_averages_are_those_of_sums_and_counts(self):
        """Thirty steps against the two exponential averages of van den Oord et al., kept in NumPy."""
        posterior = started(vector_quantized(decay=0.9, restart=0.0))
        posterior.counts.assign(np.ones(6))
        counts, sums = np.ones(6), posterior.codebook.numpy().astype(np.float64)
        random = np.random.default_rng(3)
        for _ in range(30):
            x = random.normal(size=(20, 2)).astype(np.float32)
            q = posterior.of(x)
            posterior.update(q, tf.ones(20))
            numbers = q.indices.numpy()[:, 0]
            counts = 0.9 * counts + 0.1 * np.bincount(numbers, minlength=6)
            sums = 0.9 * sums + 0.1 * np.stack([np.bincount(numbers, x[:, j], 6) for j in range(2)], axis=1)
        self.assertAllClose(posterior.codebook, sums / counts[:, None], rtol=1e-4, atol=1e-5)
        self.assertAllClose(posterior.counts, counts, rtol=1e-5)

    def test_the_first_step_takes_codewords_from_the_batch(self):
        """By the Philox numbers of update 0, from examples of positive weight, each within one per cent of it."""
        posterior = vector_quantized(codes=8, positions=3)
        random = np.random.default_rng(0)
        x = random.normal(size=(10, 6)).astype(np.float32)
        weight = np.array([0, 1, 1, 0, 2, 1, 1, 1, 0, 1], np.float32)
        posterior.update(posterior.of(x), weight)
        uniform = noise.uniform(0, noise.CODEWORDS, 0, 8, 3).numpy()
        example = np.searchsorted(np.cumsum(weight), uniform[:, 0] * weight.sum())
        source = x.reshape(10, 3, 2)[example, (uniform[:, 1] * 3).astype(int)]
        self.assertAllClose(posterior.codebook, source * (1 + 0.01 * (uniform[:, 2:] - 0.5)), rtol=1e-6)
        self.assertTrue((weight[example] > 0).all())
        self.assertAllClose(posterior.counts, np.full(8, 0.01 * 3 * weight.sum() / 8), rtol=1e-5)

    @parameterized.parameters(False, True)
    def test_dead_codewords_are_replaced_the_same_way_each_time(self, jit):
        """One out of reach is dead once its average has sunk, and lands at an output of the encoder."""
        x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
        found = []
        for _ in range(2):
            posterior = started(vector_quantized(decay=0.5, restart=0.1))
            book = posterior.codebook.numpy()
            book[2] = 1e3
            posterior.codebook.assign(book)
            posterior.counts.assign(np.full(6, 40.0 / 6))
            update = tf.function(lambda p=posterior: p.update(p.of(x), tf.ones(40)), jit_compile=jit)
            far = []
            for _ in range(5):
                update()
                far.append(float(tf.reduce_max(tf.abs(posterior.codebook[2]))) > 100.0)
            found.append(posterior.codebook.numpy())
            self.assertAllEqual(far, [True, True, True, False, False])  # 1/2, 1/4, 1/8, then 1/16 of an even share
        self.assertAllEqual(found[0], found[1])

    def test_no_weight_moves_nothing(self):
        posterior = started(vector_quantized())
        before = [np.array(w) for w in posterior.weights]
        posterior.update(posterior.of(tf.ones([4, 2])), tf.zeros(4))
        for weight, value in zip(posterior.weights, before, strict=True):
            self.assertAllEqual(weight, value)

    def test_what_is_not_finite_stays_so_and_moves_nothing(self):
        posterior = started(vector_quantized())
        x = tf.constant([[np.nan, 0.0], [1.0, 1.0]])
        q = posterior.of(x)
        self.assertAllEqual(np.isnan(q.mean()), [[True, True], [False, False]])
        posterior.update(q, tf.ones(2))
        self.assertTrue(np.isfinite(posterior.codebook.numpy()).all())


@quick("test_evaluate_counts_usage_over_all_examples", "1")
class CodeModelTest(tf.test.TestCase, parameterized.TestCase):
    X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)

    def model(self, posterior, latent=4, jit=False, prior=kvae.priors.Codes, **options):
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((6,), latent, hidden=(16,))
        vae = kvae.VAE(*networks, posterior, prior=prior(), **options)
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=jit)
        return vae

    @parameterized.parameters(False, True)
    def test_evaluate_counts_usage_over_all_examples(self, jit):
        """Usage and perplexity of the whole epoch with its weights, by NumPy; also in fit, in the compiled loop."""
        vae = self.model(FiniteScalar((4, 3)), jit=jit)
        weight = np.arange(64) % 3.0
        logs = vae.evaluate(self.X, batch_size=10, sample_weight=weight, return_dict=True, verbose=0)
        indices = vae.encode(self.X).indices.numpy()
        counts = np.bincount(indices.reshape(-1), np.repeat(weight, 2), 12)
        part = counts[counts > 0] / counts.sum()
        self.assertAllClose(logs["usage"], (counts > 0).mean(), rtol=1e-6)
        self.assertAllClose(logs["perplexity"], np.exp(-(part * np.log(part)).sum()), rtol=1e-5)
        for rate in (0.0, 1e-2):
            vae.optimizer.learning_rate = rate
            history = vae.fit(self.X, validation_data=self.X, batch_size=16, epochs=1, verbose=0).history
            indices = vae.encode(self.X).indices.numpy()
            self.assertAllClose(history["val_usage"], [len(np.unique(indices)) / 12], rtol=1e-6)
            if rate == 0.0:
                self.assertAllClose(history["usage"], history["val_usage"], rtol=1e-6)

    def test_the_bound_is_reconstruction_and_length(self):
        """ELBO = log p(x|z) - M log K exactly; log q = 0; every estimator of log p(x) gives this bound."""
        vae = self.model(FiniteScalar((4, 3)))
        vae.fit(self.X, epochs=2, verbose=0)
        logs = vae.evaluate(self.X, return_dict=True, verbose=0)
        self.assertAllClose(logs["kl"], 2 * np.log(12), rtol=1e-6)
        terms = vae.terms(self.X, samples=3)
        self.assertAllEqual(terms.log_qz_x, np.zeros((3, 64)))
        self.assertAllClose(terms.log_pz, np.full((3, 64), -2 * np.log(12)), rtol=1e-6)
        self.assertAllClose(terms.kl, np.full(64, 2 * np.log(12)), rtol=1e-6)
        by_hand = vae.decode(vae.encode(self.X).mean()).log_prob(self.X) - 2 * np.log(12)
        self.assertAllClose(vae.elbo(self.X), by_hand, rtol=1e-5)
        estimate = kvae.evaluate.log_likelihood(vae, self.X, samples=7)
        self.assertAllClose(estimate.mean, by_hand.numpy().mean(), rtol=1e-5)
        self.assertLess(estimate.monte_carlo_error, 1e-6)
        monte_carlo = self.model(FiniteScalar((4, 3)), objective=kvae.objectives.ELBO(kl="monte_carlo"))
        monte_carlo.fit(self.X, epochs=2, verbose=0)
        self.assertAllClose(monte_carlo.evaluate(self.X, return_dict=True, verbose=0)["elbo"], logs["elbo"], rtol=1e-5)

    def test_the_loss_alone_contains_the_commitment(self):
        vae = self.model(VectorQuantized(8, 2, commitment=0.5))
        vae.fit(self.X, epochs=2, verbose=0)
        logs, q = vae.evaluate(self.X, return_dict=True, verbose=0), vae.encode(self.X)
        commitment = 0.5 * np.square(q.inputs.numpy() - q.mean().numpy()).sum(1).mean()
        self.assertGreater(commitment, 1e-3)
        self.assertAllClose(logs["loss"] + logs["elbo"], commitment, rtol=1e-4)

    def test_training_moves_the_codebook_and_the_encoder(self):
        vae = self.model(VectorQuantized(8, 2))
        vae.fit(self.X, epochs=1, verbose=0)
        book, kernel = vae.posterior.codebook.numpy(), vae.posterior.projection.kernel.numpy()
        vae.fit(self.X, epochs=5, verbose=0)
        self.assertGreater(np.abs(vae.posterior.codebook.numpy() - book).max(), 1e-3)
        self.assertGreater(np.abs(vae.posterior.projection.kernel.numpy() - kernel).max(), 1e-3)

    def test_terms_of_a_step_are_those_of_the_old_codebook(self):
        """The Monte Carlo KL looks codes up by z: in a step that replaces all codewords it is still M log K."""
        objective = kvae.objectives.ELBO(kl="monte_carlo")
        vae = self.model(VectorQuantized(8, 2), objective=objective)
        logs = vae.fit(self.X, batch_size=64, epochs=1, verbose=0).history
        self.assertAllClose(logs["kl"], [2 * np.log(8)], rtol=1e-6)

    @pytest.mark.slow
    def test_a_resumed_run_is_the_same_to_the_byte(self):
        """Through restarts, with an autoregressive prior."""
        whole, first = (self.model(VectorQuantized(32, 2, decay=0.8, restart=0.3), prior=autoregressive) for _ in "ab")
        whole.fit(self.X, batch_size=16, epochs=6, verbose=0)
        first.fit(self.X, batch_size=16, epochs=3, verbose=0)
        path = f"{self.create_tempdir().full_path}/model.keras"
        first.save(path)
        again = kvae.load_model(path)
        again.fit(self.X, batch_size=16, epochs=6, initial_epoch=3, verbose=0)
        self.assertEqual(int(again.posterior.updates), 24)
        for a, b in zip(
            whole.weights + whole.optimizer.variables, again.weights + again.optimizer.variables, strict=True
        ):
            self.assertAllEqual(a, b)

    @pytest.mark.slow
    def test_feature_maps_are_coded_place_by_place(self):
        """A 1 x 1 projection: z is that of each place by itself, in rows of the map."""
        keras.utils.set_random_seed(0)
        layers = keras.layers
        encoder = keras.Sequential(
            [keras.Input((8, 6, 1)), layers.Conv2D(5, 3, strides=2, padding="same", activation="relu")]
        )
        decoder = keras.Sequential(
            [keras.Input((4 * 3 * 2,)), layers.Reshape((4, 3, 2)), layers.Conv2DTranspose(3, 3, 2, padding="same")]
        )
        x = np.random.default_rng(0).random((5, 8, 6, 1)).astype(np.float32)
        for posterior in (FiniteScalar((5, 4)), VectorQuantized(16, 2)):
            vae = kvae.VAE(keras.models.clone_model(encoder), keras.models.clone_model(decoder), posterior,
                           prior=kvae.priors.Codes("categorical"))  # fmt: skip
            vae.compile("adam", jit_compile=False)
            vae.fit(x, epochs=1, verbose=0)
            q, features = vae.encode(x), vae.encoder(x).numpy()
            kernel, bias = (w.numpy() for w in posterior.projection.weights)
            self.assertEqual((kernel.shape, q.indices.shape), ((5, 2), (5, 12)))
            self.assertAllClose(q.inputs, (features @ kernel + bias).reshape(5, 24), rtol=1e-4, atol=1e-5)
            self.assertEqual(vae.sample(3, seed=0).shape, (3, 8, 6, 1))
            path = f"{self.create_tempdir().full_path}/model.keras"
            vae.save(path)
            self.assertAllEqual(kvae.load_model(path).encode(x).indices, q.indices)

    @pytest.mark.slow
    def test_the_saved_model_gives_indices(self):
        vae = self.model(VectorQuantized(8, 2), prior=autoregressive)
        vae.fit(self.X, epochs=2, verbose=0)
        served = tf.saved_model.load(vae.export(f"{self.create_tempdir().full_path}/1", verbose=False)).signatures
        coded, q = served["encode"](x=self.X), vae.encode(self.X)
        self.assertEqual(set(coded), {"mean", "indices", "valid"})
        self.assertEqual(coded["indices"].dtype, tf.int32)
        self.assertAllEqual(coded["indices"], q.indices)
        self.assertAllEqual(coded["mean"], q.mean())
        seeds = tf.range(64)
        scored, elbo = served["score"](x=self.X, seed=seeds), vae.elbo(self.X)
        for name in ("elbo", "score"):
            self.assertAllClose(scored[name], elbo, rtol=1e-5, atol=1e-5)
        estimate = served["log_likelihood"](x=self.X, seed=seeds)
        self.assertAllClose(estimate["log_likelihood"], elbo, rtol=1e-5, atol=1e-5)
        drawn = served["sample"](seed=seeds)
        self.assertAllEqual(vae.posterior.code(vae.posterior.index(drawn["z"])), drawn["z"])
