"""What holds of every row of the table in conformance.py."""

import functools
import inspect
import math

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from tensorflow_probability import distributions as tfd

import kvae
from kvae.data.batch import inputs_of
from kvae.numerics import divergences, noise
from tests import conformance
from tests.conformance import DENSITIES, LIKELIHOODS, MODELS, OBJECTIVES, POSTERIORS, examples, make_vae, quick, state

LOGITS = np.array([-30.0, -5.0, -1e-3, 0.0, 0.7, 5.0, 30.0], np.float32)


def named(table):
    return [(name, make) for name, make in table.items()]


class TableTest(tf.test.TestCase):
    def test_the_table_is_complete(self):
        for module, base, table in (
            (kvae.posteriors, kvae.posteriors.Posterior, POSTERIORS | conformance.HIERARCHIES),
            (kvae.likelihoods, kvae.likelihoods.Likelihood, LIKELIHOODS | conformance.JOINTS),
            (kvae.priors, kvae.priors.Prior, conformance.PRIORS),
            (kvae.objectives, kvae.objectives.Objective, OBJECTIVES),
        ):
            public = {
                value
                for name, value in vars(module).items()
                if inspect.isclass(value) and issubclass(value, base) and value is not base and name[0] != "_"
            }
            self.assertEqual(public, {type(make()) for make in table.values()})


class LikelihoodTest(tf.test.TestCase, parameterized.TestCase):
    def likelihood(self, make, size):
        likelihood = make(project=False)
        likelihood.build(feature_shape=(likelihood.per_element * size,), event_shape=(size,))
        return likelihood

    def p(self, likelihood, first, others=0.0):
        """p(x|z) with these first parameters of the elements, the others being equal."""
        others = np.full((*first.shape[:-1], (likelihood.per_element - 1) * first.shape[-1]), others, first.dtype)
        return likelihood.distribution(tf.constant(np.concatenate([first, others], axis=-1)))

    @parameterized.named_parameters(named(LIKELIHOODS))
    def test_config_round_trip(self, make):
        likelihood = make(project=False, name="x_given_z")
        again = type(likelihood).from_config(likelihood.get_config())
        self.assertEqual(again.get_config(), likelihood.get_config())
        arguments = set(inspect.signature(type(likelihood).__init__).parameters) - {"self"}
        self.assertEqual(set(likelihood.get_config()), arguments)

    @parameterized.named_parameters(named(LIKELIHOODS))
    def test_density_integrates_to_one(self, make):
        if make().support.open:
            self.check_between_open_ends(make)
            return
        if make().support.integer:
            self.check_sum(make)
            return
        p = self.p(self.likelihood(make, len(LOGITS)), LOGITS[None]).distribution
        low, high = (0.0, 1.0) if make().support.high == 1.0 else (-45.0, 45.0)
        nodes, weights = np.polynomial.legendre.leggauss(20)
        edges = np.linspace(low, high, 201)
        width = edges[1] - edges[0]
        x = (edges[:-1, None] + (nodes + 1) / 2 * width).ravel().astype(np.float32)
        density = p.prob(x[:, None]).numpy().astype(np.float64)
        self.assertAllClose((np.tile(weights, 200) / 2 * width) @ density, np.ones(len(LOGITS)), atol=2e-4)

    def check_sum(self, make):
        """Over the integers, those without end to where nothing is left; there the means are not too large."""
        high = make().support.high
        logits = LOGITS if np.isfinite(high) else np.minimum(LOGITS, 5.0)
        p = self.p(self.likelihood(make, len(LOGITS)), logits[None]).distribution
        x = np.arange(min(high, 10_000.0) + 1.0, dtype=np.float32)
        total = p.prob(x[:, None]).numpy().astype(np.float64).sum(axis=0)
        self.assertAllClose(total, np.ones(len(LOGITS)), atol=1e-6)

    def check_between_open_ends(self, make):
        """In float64 and in t = log x or the logit of x, since densities may be infinite at the ends."""
        bounded = make().support.high == 1.0
        t = np.linspace(-600.0, 36.0 if bounded else 60.0, 400_001)
        logits = np.clip(LOGITS, -1.5, 1.5) if bounded else LOGITS
        x, slope = (1.0 / (1.0 + np.exp(-t)), 1.0 / (2.0 + 2.0 * np.cosh(t))) if bounded else (np.exp(t), np.exp(t))
        likelihood = self.likelihood(functools.partial(make, dtype="float64"), len(LOGITS))
        p = self.p(likelihood, logits[None].astype(np.float64), others=2.0 if bounded else 0.0)
        density = np.exp(p.distribution.log_prob(x[:, None]))
        total = (density * slope[:, None]).sum(axis=0) * (t[1] - t[0])
        self.assertAllClose(total, np.ones(len(LOGITS)), atol=1e-5)

    @parameterized.named_parameters(named(LIKELIHOODS))
    def test_finite_at_the_ends(self, make):
        """Log-density and gradient at the ends of the support, parameters to +-30."""
        likelihood = self.likelihood(make, len(LOGITS))
        support = likelihood.support
        ends = [max(support.low, -100.0), 0.0, min(support.high, 1e6 if support.integer else 100.0)]
        ends = (*likelihood.support.ends, 0.5) if likelihood.support.open else ends
        for end in ends:
            features = tf.constant(np.tile(LOGITS, likelihood.per_element)[None])
            with tf.GradientTape() as tape:
                tape.watch(features)
                log_p = likelihood.distribution(features).log_prob(tf.fill([1, len(LOGITS)], end))
            self.assertTrue(np.isfinite(log_p.numpy()).all())
            self.assertTrue(np.isfinite(tape.gradient(log_p, features).numpy()).all())

    @parameterized.named_parameters(named(LIKELIHOODS))
    def test_samples_and_mean(self, make):
        """Draws lie in the support, and their mean is `mean()` within four standard errors."""
        logits = np.array([-3.0, -0.4, 0.0, 0.2, 2.5], np.float32)
        likelihood = self.likelihood(make, len(logits))
        n = 40_000
        p = self.p(likelihood, np.repeat(logits[None], n, axis=0))
        uniform = noise.uniform(1, 2, 0, n, len(logits))
        x = likelihood.draw(p, uniform).numpy()
        self.assertFalse(likelihood.support.outside(x).any())
        error = np.abs(x.mean(0) - p.mean()[0].numpy()) / (x.std(0) / math.sqrt(n))
        self.assertLess(error.max(), 4.0)
        self.assertAllClose(x.std(0), p.stddev()[0].numpy(), rtol=0.03)


class PosteriorTest(tf.test.TestCase, parameterized.TestCase):
    def q(self, make, features, latent):
        """A posterior and its q at these parameters; weights of its own are random."""
        posterior = make(project=False)
        posterior.build(feature_shape=(features.shape[-1],), latent_dim=latent)
        random = np.random.default_rng(7)
        for weight in posterior.trainable_weights:
            weight.assign(random.normal(0.0, 0.3, weight.shape))
        return posterior, posterior.distribution(tf.constant(features, tf.float32))

    def units(self, make, latent):
        return make()._units(latent)

    @parameterized.named_parameters(named(POSTERIORS))
    def test_config_round_trip(self, make):
        scales = {"floor": 1e-4, "cap": 50.0} if make in DENSITIES.values() else {}
        posterior = make(name="q", **scales)
        self.assertEqual(type(posterior).from_config(posterior.get_config()).get_config(), posterior.get_config())
        arguments = set(inspect.signature(type(posterior).__init__).parameters) - {"self"}
        self.assertEqual(set(posterior.get_config()), arguments)
        self.assertEqual(scales.items() & posterior.get_config().items(), scales.items())

    @parameterized.named_parameters(named(DENSITIES))
    def test_density_integrates_to_one(self, make):
        features = np.random.default_rng(0).normal(size=(2, self.units(make, 2)))
        _, q = self.q(make, features, 2)
        prob, axis = tf.function(q.prob), np.arange(-12.0, 12.0, 0.06, dtype=np.float32)
        grid = np.stack(np.meshgrid(axis, axis), -1).reshape(25, -1, 1, 2)
        total = sum(prob(z).numpy().astype(np.float64).sum(0) for z in grid) * 0.06**2
        self.assertAllClose(total, np.ones(2), atol=1e-4)

    @parameterized.named_parameters(named(DENSITIES))
    def test_reparameterisation(self, make):
        """Draws z = g(eps) have the density q: its moments (4 se), the mean of r(z) / q(z) is 1 for a density r (4 se).

        Where eps has the size of z, log q(z) = log p(eps) - log|det dz/deps| (eq. 21, 29).
        """
        latent, n = 3, 40_000
        features = np.random.default_rng(1).normal(size=(2, self.units(make, latent)))
        posterior, q = self.q(make, features, latent)
        eps = noise.normal(3, 1, 0, n, 2 * posterior.noise_size)
        eps = tf.reshape(eps, [n, 2, posterior.noise_size])
        drawn, log_q = posterior.drawn(q, eps)
        self.assertAllEqual(drawn, posterior.draw(q, eps))
        self.assertAllClose(log_q, q.log_prob(tf.identity(drawn)), atol=1e-4, rtol=1e-5)
        z = drawn.numpy()
        self.check_moments(q, z)
        root = np.linalg.cholesky([0.25 * np.cov(z[:, b].T) for b in range(2)])  # narrower than q
        r = tfd.MultivariateNormalTriL(z.mean(0), root.astype(np.float32))
        weight = np.exp(r.log_prob(z) - log_q)
        self.assertLess(np.abs((weight.mean(0) - 1.0) / (weight.std(0) / math.sqrt(n))).max(), 4.0)
        self.assertLess((weight.std(0) / math.sqrt(n)).max(), 0.05)
        if not posterior.has_bijector:
            return
        log_eps = -0.5 * (np.square(eps).sum(-1) + latent * math.log(2 * math.pi))
        few = tf.identity(eps[:50])
        self.assertAllClose(q.bijector.inverse(tf.identity(drawn[:50])), few, atol=2e-5)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(few)
            out = q.bijector.forward(few)
        jacobian = tape.batch_jacobian(out, few).numpy()  # [50, 2, D, 2, D]
        blocks = np.stack([jacobian[:, b, :, b, :] for b in range(2)], axis=1)
        log_det = np.linalg.slogdet(blocks)[1]
        self.assertAllClose(q.log_prob(tf.constant(z[:50])), log_eps[:50] - log_det, atol=2e-5)

    def check_moments(self, q, z):
        try:
            mean, scale, covariance = q.mean().numpy(), q.stddev().numpy(), q.covariance()
        except NotImplementedError:
            return
        self.assertLess((np.abs(z.mean(0) - mean) / (scale / math.sqrt(len(z)))).max(), 4.0)
        self.assertAllClose(np.stack([np.cov(z[:, b].T) for b in range(2)]), covariance, atol=0.06, rtol=0.03)

    @parameterized.named_parameters(named(DENSITIES))
    def test_finite_at_the_ends(self, make):
        """Scales keep to the floor and the cap, with a finite density and gradient, and a way back from the cap."""
        for raw in (-30.0, 30.0, 1e6):
            features = tf.fill([1, self.units(make, 2)], raw)
            posterior = make(project=False, floor=1e-3, cap=20.0)
            posterior.build(feature_shape=features.shape[1:], latent_dim=2)
            prior = kvae.priors.StandardNormal.distribution(_prior(2), None)
            with tf.GradientTape() as tape:
                tape.watch(features)
                q = posterior.distribution(features)
                kl = divergences.kl(q, prior)
                if kl is None:
                    z, log_q = posterior.drawn(q, tf.constant([[[0.3, -0.8]]]))
                    kl = (log_q - prior.log_prob(z))[0]
            gradient = tape.gradient(kl, features).numpy()
            self.assertTrue(np.isfinite(kl.numpy()).all())
            self.assertTrue(np.isfinite(gradient).all())
            diagonal = _scale(posterior, q)
            self.assertAllInRange(diagonal, 1e-3 * (1 - 1e-6), 20.0 * (1 + 1e-6))
            if raw == 30.0:  # beyond the cap of 20 the KL still pulls the scale back
                self.assertAllClose(diagonal, np.full((1, 2), 20.0))
                self.assertTrue((gradient[:, : 4 if posterior.has_own_weights else None] != 0.0).all())

    def test_full_covariance_kl_equals_the_registered_one(self):
        random = np.random.default_rng(0)
        factor = np.tril(random.normal(size=(5, 3, 3)), -1) + np.eye(3) * random.uniform(0.1, 3.0, (5, 1, 3))
        q = tfd.MultivariateNormalTriL(random.normal(size=(5, 3)), factor)
        p = tfd.MultivariateNormalDiag(random.normal(size=3), random.uniform(0.5, 2.0, 3))
        self.assertAllClose(divergences.kl(q, p), tfd.kl_divergence(q, p), rtol=1e-12)


def _scale(posterior, q):
    """The scales that have a floor and a cap."""
    if posterior.has_own_weights:  # a new flow is a diagonal normal, here with two equal scales
        log_q = posterior.drawn(q, tf.zeros([1, 1, 2]))[1]
        return tf.repeat(tf.exp(-0.5 * (log_q + math.log(2 * math.pi))), 2, axis=1).numpy()
    return q.scale_diag.numpy() if hasattr(q, "scale_diag") else q.scale.diag_part().numpy()


def _prior(latent):
    prior = kvae.priors.StandardNormal()
    prior.build(latent_dim=latent)
    return prior


class ObjectiveTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(named(OBJECTIVES))
    def test_config_round_trip(self, make):
        config = keras.saving.serialize_keras_object(make())
        again = keras.saving.deserialize_keras_object(config)
        self.assertEqual(keras.saving.serialize_keras_object(again), config)
        self.assertEqual(again.samples, make().samples)


FAMILIES = [
    name for name in MODELS if name.split("_")[0] in ("posterior", "hierarchy", "likelihood", "prior", "kernel")
]
# The shorter tests make a few whole models; those of all rows are slow.
FEW = ("posterior_finite_scalar", "likelihood_normal_optimal")


@quick("test_conditional")
@quick("test_whole")
class ModelTest(tf.test.TestCase, parameterized.TestCase):
    """Each row of the table in a whole model."""

    @parameterized.named_parameters((name, MODELS[name]) for name in FEW)
    def test_shapes_and_file(self, parts):
        vae, x, _ = self.trained(parts)
        self.check_shapes(vae, x)
        self.check_file(vae, x)

    @parameterized.named_parameters(conformance.WHOLE.items())
    def test_whole(self, parts):
        vae, x, history = self.trained(parts)
        self.check_xla(parts, vae, x, history)
        again = self.check_file(vae, x)
        self.assertEqual(again.evaluate(x, verbose=0), vae.evaluate(x, verbose=0))
        self.check_shapes(vae, x)
        self.check_export(vae, x)
        self.check_mask(vae, x)
        self.check_resumed(vae, again, x)

    @parameterized.named_parameters((name, MODELS[name]) for name in FAMILIES if "kernel" not in name)
    def test_conditional(self, parts):
        """The families in a conditional model: it trains, condition and code both count, its file is the same."""
        keras.utils.set_random_seed(0)
        networks = conformance.conditional_networks(conformance.event_of(parts))
        made = {part: make() for part, make in parts.items() if part != "network"}
        vae = kvae.VAE(*networks, **made)
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        x, labels = examples(vae.likelihood, vae.event_shape), np.arange(16) % 2
        logs = vae.fit(x, labels, batch_size=8, epochs=2, verbose=0).history
        self.assertTrue(np.isfinite(logs["loss"]).all())
        one, other = (vae.terms(x, seed=1, condition=c).log_px_z.numpy() for c in (labels, 1 - labels))
        self.assertGreater(np.abs(one - other).max(), 1e-4)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        again = kvae.load_model(path)
        self.assertAllEqual(again.terms(x, seed=1, condition=labels).log_px_z, one)
        self.assertEqual(vae.sample(2, seed=1, condition=[0, 1]).shape, (2, *vae.event_shape))

    def made(self, **parts):
        """A model with an optimizer of few operations, of which a program has one set for each variable."""
        return make_vae(**parts, optimizer=keras.optimizers.SGD(1e-3, momentum=0.9))

    def trained(self, parts):
        vae = self.made(**parts)
        x = examples(vae.likelihood, vae.event_shape)
        return vae, x, vae.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0).history

    def check_xla(self, parts, vae, x, history):
        """XLA equals no XLA, an array in stored order equals a pipeline with an open batch."""
        twin = self.made(**parts, jit_compile=True)
        compiled = twin.fit(tf.data.Dataset.from_tensor_slices(x).batch(8), epochs=2, verbose=0).history
        for name, values in history.items():
            self.assertAllClose(values, compiled[name], rtol=1e-4, atol=1e-4)
        self.assertEqual("kl" in compiled, vae.posterior.has_density)
        for a, b in zip(vae.trainable_weights, twin.trainable_weights, strict=True):
            self.assertAllClose(a, b, rtol=1e-3, atol=1e-3)

    def check_shapes(self, vae, x):
        """Shapes of the contract."""
        q, terms = vae.encode(x), vae.terms(x, samples=5, seed=1)
        self.assertEqual((q.batch_shape, q.event_shape), ([16], [vae.latent_dim]))
        p = vae.decode(terms.z)
        self.assertEqual((p.batch_shape, p.event_shape), ([5, 16], list(vae.event_shape)))
        densities = [terms.log_px_z, terms.log_pz] + [terms.log_qz_x] * vae.posterior.has_density
        for value in densities:
            self.assertEqual(value.shape, [5, 16])
            self.assertTrue(np.isfinite(value.numpy()).all())
        if terms.kl_per_dim is not None:
            self.assertAllClose(tf.reduce_sum(terms.kl_per_dim, -1), terms.kl, rtol=1e-5)
        if vae.posterior.has_density:
            self.assertEqual(vae.elbo(x, seed=1).shape, [16])
        for output in ("mean", "sample"):
            drawn = vae.sample(4, seed=1, output=output).numpy()
            self.assertEqual(drawn.shape, (4, *vae.event_shape))
            parts = vae.likelihood.groups.values() or [(slice(None), vae.likelihood)]
            for columns, part in parts:  # the mean of an integer need not be one
                support = part.support._replace(integer=part.support.integer and output == "sample")
                self.assertFalse(support.outside(drawn[..., columns]).any())
        self.assertAllClose(vae.predict(x, verbose=0), vae.reconstruct(x), rtol=1e-5, atol=1e-6)

    def check_file(self, vae, x):
        """Save and load."""
        path = self.create_tempdir().full_path
        vae.save(f"{path}/model.keras")
        again = keras.models.load_model(f"{path}/model.keras")
        self.assertEqual(len(again.weights), len(vae.weights))
        for a, b in zip(vae.weights + vae.optimizer.variables, again.weights + again.optimizer.variables, strict=True):
            self.assertAllEqual(a, b)
        self.assertAllEqual(again.terms(x, seed=3).log_px_z, vae.terms(x, seed=3).log_px_z)
        return again

    def check_mask(self, vae, x):
        """All observed is no mask; what is missing has no influence, and its NaN reaches no weight."""
        ones = np.ones(x.shape, np.float32)
        everything = vae.terms(x, seed=2, mask=ones).log_px_z
        self.assertAllClose(everything, vae.terms(x, seed=2).log_px_z, rtol=1e-5, atol=1e-5)  # another order of sums
        mask = (np.random.default_rng(5).random(x.shape) < 0.7).astype(np.float32)
        other, gone = np.where(mask, x, x[::-1]), np.where(mask, x, np.nan).astype(np.float32)
        for found in (other, gone):
            self.assertAllEqual(vae.terms(found, seed=2, mask=mask).log_px_z, vae.terms(x, seed=2, mask=mask).log_px_z)
        start, logs, ends = state(vae), [], []
        for data in ({"x": gone, "mask": mask}, {"x": x, "mask": ones}, x):
            logs.append(vae.fit(data, batch_size=8, epochs=2, shuffle=False, verbose=0).history)
            ends.append([np.array(w) for w in vae.weights])
            for variable, value in zip(vae.weights + vae.optimizer.variables, start, strict=True):
                variable.assign(value)
        self.assertTrue(all(np.isfinite(w).all() for w in ends[0]))
        self.assertEqual(set(logs[1]), set(logs[2]))
        for name, values in logs[2].items():
            self.assertAllClose(logs[1][name], values, rtol=1e-5, atol=1e-5)
        for a, b in zip(ends[1], ends[2], strict=True):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-5)

    def check_resumed(self, vae, again, x):
        """Training that goes on from the file ends with the same bytes."""
        for model in (vae, again):
            model.fit(x, batch_size=8, epochs=1, shuffle=False, verbose=0)
        for a, b in zip(vae.weights, again.weights, strict=True):
            self.assertAllEqual(a, b)

    def check_export(self, vae, x):
        """The SavedModel gives what the model gives."""
        q, z = vae.encode(x), vae.terms(x, samples=1, seed=1).z[0]
        served = tf.saved_model.load(vae.export(f"{self.create_tempdir().full_path}/1", verbose=False)).signatures
        seeds = tf.range(16, dtype=tf.int32)
        beside = {"mask": np.ones_like(x)} if "mask" in inputs_of(vae.encoder) else {}
        encoded = served["encode"](x=x, **beside)
        for name, value in vae.posterior.export(q).items():
            self.assertAllClose(encoded[name], value, rtol=1e-5, atol=1e-5, msg=name)
        self.assertAllClose(encoded["mean"], vae.posterior.center(q), rtol=1e-5, atol=1e-6)
        self.assertAllClose(served["reconstruct"](x=x, **beside)["mean"], vae.reconstruct(x), rtol=1e-5, atol=1e-6)
        self.assertAllClose(served["decode"](z=z)["mean"], vae.decode(z).mean(), rtol=1e-5, atol=1e-6)
        drawn = served["sample"](seed=seeds)
        self.assertAllClose(served["decode"](z=drawn["z"])["mean"], drawn["mean"], rtol=1e-5, atol=1e-6)
        points = isinstance(vae.posterior, kvae.posteriors.Deterministic)  # of which there is no density
        self.assertEqual("score" in served, not points)
        if points:
            return
        score = served["score"](x=x, **beside, seed=seeds)
        self.assertAllClose(score["elbo"], score["reconstruction"] - score["kl"], rtol=1e-5)
