"""Conditional models: networks with a second input."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.data.splits import Split
from kvae.numerics import divergences
from tests.conformance import quick, state

CLASSES = 3
RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(0, CLASSES, 40)
X = (RANDOM.random((40, 4, 4, 1)) < (Y[:, None, None, None] + 1) / 5).astype(np.float32)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[Y]

NETWORKS = {
    "mlp": lambda: kvae.networks.mlp((4, 4, 1), 2, hidden=(7,), condition=CLASSES),
    "conv": lambda: kvae.networks.conv((4, 4, 1), 2, filters=(3,), dense=5, condition=(CLASSES,)),
    "resnet": lambda: kvae.networks.resnet((4, 4, 1), 2, filters=(4,), dense=5, skips=True, condition=CLASSES),
    "decoder_alone": lambda: (
        kvae.networks.mlp((4, 4, 1), 2, hidden=(7,))[0],
        kvae.networks.mlp((4, 4, 1), 2, hidden=(7,), condition=CLASSES)[1],
    ),
}


def model(network="mlp", prior="standard_normal", jit_compile=False, seed=0) -> kvae.VAE:
    keras.utils.set_random_seed(seed)
    vae = kvae.VAE(*NETWORKS[network](), likelihood="bernoulli", prior=prior, seed=seed)
    vae.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    return vae


@quick("test_every_way_of_feeding_is_the_same")
@quick("test_public_methods_files_and_export")
class ConditionalTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(
        ("mlp", "mlp", "conditional_normal"), ("decoder_alone", "decoder_alone", "standard_normal")
    )
    def test_every_way_of_feeding_is_the_same(self, network, prior):
        """Labels, one-hot vectors, dicts, splits and pipelines; with XLA and without."""
        ways = {
            "labels": lambda vae, **o: vae.fit(X, Y, batch_size=16, **o),
            "xla": lambda vae, **o: vae.fit(X, Y, batch_size=16, **o),
            "vectors": lambda vae, **o: vae.fit(X, ONE_HOT, batch_size=16, **o),
            "dict": lambda vae, **o: vae.fit({"x": X, "condition": Y}, batch_size=16, **o),
            "split": lambda vae, **o: vae.fit(Split(X, Y, batch_size=16), **o),
            "pipeline": lambda vae, **o: vae.fit(Split(X, Y, batch_size=16).dataset(shuffle=False), **o),
            "dicts": lambda vae, **o: vae.fit(
                tf.data.Dataset.from_tensor_slices({"x": X, "condition": ONE_HOT}).batch(16), **o
            ),
        }
        found, shared = {}, model(network, prior)
        start = state(shared)
        for name, fit in ways.items():
            vae = model(network, prior, jit_compile=True) if name == "xla" else shared
            for variable, value in zip(vae.weights + vae.optimizer.variables, start, strict=True):
                variable.assign(value)
            history = fit(vae, epochs=2, shuffle=False, verbose=0, validation_data=(X[:8], Y[:8])).history
            found[name] = [*history["elbo"], *history["val_elbo"], *vae.evaluate(X, Y, verbose=0)]
        for values in found.values():
            self.assertAllClose(values, found["labels"], rtol=1e-4)

    @parameterized.named_parameters(
        ("mlp", "mlp", "standard_normal"),
        ("conv", "conv", "conditional_normal"),
        ("resnet", "resnet", "standard_normal"),
        ("decoder_alone", "decoder_alone", "conditional_normal"),
    )
    def test_public_methods_files_and_export(self, network, prior):
        vae = model(network, prior)
        vae.fit(X, Y, epochs=3, verbose=0)
        split = Split(X, Y)
        q, mean = vae.encode(X, Y), vae.reconstruct(X, Y)
        self.assertAllEqual(vae.encode(split).mean(), q.mean())
        self.assertAllClose(vae.decode(q.mean(), ONE_HOT).mean(), mean, rtol=1e-5, atol=1e-6)
        for given in (split, {"x": X, "condition": Y}, tf.data.Dataset.from_tensor_slices((X, Y)).batch(9)):
            self.assertAllClose(vae.predict(given, verbose=0), mean, rtol=1e-5, atol=1e-6)
        terms = vae.terms(X, samples=3, seed=1, condition=Y)
        self.assertAllClose(vae.decode(terms.z, Y).log_prob(X), terms.log_px_z, rtol=1e-5)
        analytic = tf.reduce_mean(terms.log_px_z, axis=0) - terms.kl
        self.assertAllClose(vae.elbo(X, samples=3, seed=1, condition=ONE_HOT), analytic, rtol=1e-5)
        self.assertNotAllClose(vae.decode(q.mean(), (Y + 1) % CLASSES).mean(), mean)
        drawn = vae.sample(4, seed=1, condition=2)
        self.assertAllEqual(drawn, vae.sample(4, seed=1, condition=[2, 2, 2, 2]))
        self.assertNotAllClose(drawn, vae.sample(4, seed=1, condition=0))

        path = self.create_tempdir().full_path
        vae.save(f"{path}/model.keras")
        again = kvae.load_model(f"{path}/model.keras")
        self.assertAllEqual(again.elbo(split, seed=3), vae.elbo(split, seed=3))
        again.fit(X, Y, epochs=1, verbose=0)
        vae.fit(X, Y, epochs=1, verbose=0)
        for a, b in zip(again.weights, vae.weights, strict=True):
            self.assertAllEqual(a, b)
        served = tf.saved_model.load(vae.export(f"{path}/1")).signatures
        seeds = tf.range(40, dtype=tf.int32)
        self.assertAllClose(
            served["serving_default"](x=X, condition=ONE_HOT)["mean"], vae.reconstruct(split), rtol=1e-5, atol=1e-6
        )
        self.assertAllClose(
            served["encode"](x=X, condition=ONE_HOT)["mean"], vae.encode(split).mean(), rtol=1e-5, atol=1e-6
        )
        sampled = served["sample"](seed=seeds, condition=ONE_HOT)
        self.assertAllClose(vae.decode(sampled["z"], Y).mean(), sampled["mean"], rtol=1e-5, atol=1e-6)
        score = served["score"](x=X, seed=seeds, condition=ONE_HOT)
        self.assertAllClose(score["elbo"], score["reconstruction"] - score["kl"], rtol=1e-5)

    def test_importance_sampling_by_hand(self):
        """log p(x|c) from the same draws, in NumPy; for a prior that depends on c, and in chunks."""
        vae = model(prior="conditional_normal")
        vae.fit(X, Y, epochs=3, verbose=0)
        split = Split(X[:6], Y[:6])
        table = kvae.evaluate.summary(vae, split, samples=2000)
        chunked = kvae.evaluate.log_likelihood(vae, split, samples=2000, chunk=700)
        self.assertAllClose(table["log_likelihood"].mean, chunked.mean, rtol=1e-6)
        terms = vae.terms(X[:6], samples=2000, seed=5, condition=Y[:6])
        log_w = (terms.log_px_z + terms.log_pz - terms.log_qz_x).numpy().astype(np.float64)
        by_hand = (np.logaddexp.reduce(log_w, axis=0) - np.log(2000)).mean()
        error = np.hypot(chunked.monte_carlo_error, np.exp(log_w - by_hand).std() / np.sqrt(6 * 2000))
        self.assertLess(abs(by_hand - chunked.mean), 4 * error)
        self.assertAllClose(table["kl"].mean, terms.kl.numpy().mean(), rtol=1e-5)

    def test_conditional_prior_kl(self):
        """Against the closed form for normals in NumPy."""
        prior = kvae.priors.ConditionalNormal()
        prior.build(latent_dim=2, condition_shape=(CLASSES,))
        prior.projection.set_weights([RANDOM.normal(size=(CLASSES, 4)), RANDOM.normal(size=4)])
        p = prior.distribution(condition=tf.constant(ONE_HOT[:5]))
        kernel, bias = prior.projection.get_weights()
        m, s = np.split(ONE_HOT[:5] @ kernel + bias, 2, axis=1)
        s = 1e-3 + np.logaddexp(0.0, s)
        loc, scale = RANDOM.normal(size=(5, 2)), RANDOM.uniform(0.2, 2.0, (5, 2))
        posterior = kvae.posteriors.DiagonalNormal(project=False)
        posterior.build(feature_shape=(4,), latent_dim=2)
        raw = np.log(np.expm1(scale - 1e-5))
        q = posterior.distribution(tf.constant(np.concatenate([loc, raw], axis=1), tf.float32))
        expected = np.log(s / scale) + (scale**2 + (loc - m) ** 2) / (2 * s**2) - 0.5
        self.assertAllClose(divergences.kl(q, p), expected.sum(axis=1), rtol=1e-4)
        self.assertAllClose(divergences.kl_per_dim(q, p), expected, rtol=1e-4)

    def test_linear_oracle(self):
        """p(x|c) = N(mu_c, W W^T + s^2 I): the ELBO with the exact posterior is log p(x|c), for every draw."""
        size, latent, s = 5, 2, 0.5
        random = np.random.default_rng(1)
        w, means = random.normal(size=(size, latent)), random.normal(size=(CLASSES, size))
        y = random.integers(0, CLASSES, 30)
        x = means[y] + random.normal(size=(30, latent)) @ w.T + s * random.normal(size=(30, size))
        precision = np.eye(latent) + w.T @ w / s**2
        gain = np.linalg.solve(precision, w.T / s**2)  # [latent, size]

        networks = kvae.networks.mlp((size,), latent, hidden=(), condition=CLASSES)
        vae = kvae.VAE(*networks, posterior="full_normal", likelihood=kvae.likelihoods.Normal(scale=s))
        factor = np.linalg.cholesky(np.linalg.inv(precision))
        raw = factor.copy()
        np.fill_diagonal(raw, np.log(np.expm1(np.diag(factor) - 1e-5)))
        triangle = np.array([raw[1, 1], raw[1, 0], raw[0, 0]])  # the order of fill_triangular for two dimensions
        kernel = np.concatenate(
            [np.concatenate([gain, -gain @ means.T], axis=1).T, np.zeros((size + CLASSES, 3))], axis=1
        )
        vae.posterior.projection.set_weights([kernel, np.concatenate([np.zeros(latent), triangle])])
        vae.likelihood.projection.set_weights([np.concatenate([w.T, means]), np.zeros(size)])
        q = vae.encode(x.astype(np.float32), y)
        self.assertAllClose(q.covariance()[0], np.linalg.inv(precision), rtol=1e-5)

        covariance = w @ w.T + s**2 * np.eye(size)
        off = x - means[y]
        mahalanobis = np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
        log_p = -0.5 * (mahalanobis + np.linalg.slogdet(covariance)[1] + size * np.log(2 * np.pi))
        terms = vae.terms(x.astype(np.float32), samples=3, condition=y)
        exact = terms.log_px_z + terms.log_pz - terms.log_qz_x
        self.assertAllClose(exact, np.broadcast_to(log_p, (3, 30)), atol=1e-4)
        estimate = kvae.evaluate.log_likelihood(vae, Split(x.astype(np.float32), y), samples=3)
        self.assertAllClose(estimate.mean, log_p.mean(), atol=1e-4)


class ErrorsTest(tf.test.TestCase):
    def test_data(self):
        vae, vectors = model(), np.full((40, CLASSES), np.nan, np.float32)
        for call, message in (
            (lambda: vae.fit(X), r"is conditional: it needs a condition of shape \(None, 3\).*or labels 0..2"),
            (lambda: vae.evaluate(Split(X)), "is conditional"),
            (lambda: vae.encode(X), "is conditional"),
            (lambda: vae.sample(3, seed=0), "is conditional"),
            (lambda: vae.fit(X, Y + 1), "Labels must be 0..2 for this model, but they range from 1 to 3"),
            (lambda: vae.fit(X, ONE_HOT[:, :2]), r"has shape \(40, 2\).*takes \(None, 3\); or give integer labels"),
            (lambda: vae.fit(X, vectors), "must be finite"),
            (lambda: vae.encode(X, Y[:5]), "x has 40 rows but the condition has 5"),
            (lambda: vae.fit({"x": X, "condition": Y}, Y), "given twice"),
            (lambda: vae.fit(tf.data.Dataset.from_tensor_slices(X).batch(8)), "is conditional"),
            (lambda: vae.fit(tf.data.Dataset.from_tensor_slices((X, Y + 1)).batch(8)), "Labels must be 0..2"),
            (lambda: kvae.evaluate.log_likelihood(vae, X), "is conditional"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                call()

    def test_an_unconditional_model_has_none(self):
        vae = kvae.VAE(*kvae.networks.mlp((4, 4, 1), 2), likelihood="bernoulli")
        with self.assertRaisesRegex(ValueError, "not conditional"):
            vae.encode(X, Y)
        self.assertAllEqual(vae.encode(Split(X, Y)).mean(), vae.encode(X).mean())  # labels are left alone

    def test_networks(self):
        encoder, decoder = NETWORKS["mlp"]()
        other = kvae.networks.mlp((4, 4, 1), 2, condition=5)[1]
        with self.assertRaisesRegex(ValueError, r"an input beside x\) has shape \(3,\) and the decoder's \(5,\)"):
            kvae.VAE(encoder, other)
        plain = kvae.networks.mlp((4, 4, 1), 2)
        with self.assertRaisesRegex(ValueError, "ConditionalNormal is a prior of the condition"):
            kvae.VAE(*plain, prior="conditional_normal")
        inputs = [keras.Input((3,)) for _ in range(3)]
        three = keras.Model(inputs, keras.layers.Concatenate()(inputs))
        with self.assertRaisesRegex(ValueError, "takes x and perhaps a condition beside it"):
            kvae.VAE(three, decoder)


if __name__ == "__main__":
    tf.test.main()
