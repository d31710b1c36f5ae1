"""The classical autoencoder: a deterministic posterior, and no ELBO."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import kvae
from kvae.numerics import divergences


def autoencoder(latent=2, size=6, seed=0, hidden=()) -> kvae.VAE:
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((size,), latent, hidden=hidden)
    model = kvae.VAE(
        *networks,
        posterior="deterministic",
        likelihood=kvae.likelihoods.Normal(scale=1.0),
        objective=kvae.objectives.ELBO(beta=0),
        seed=seed,
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    return model


def data(n=200, size=6) -> np.ndarray:
    random = np.random.default_rng(0)
    scales = np.array([3.0, 2.0, 1.0, 0.5, 0.3, 0.1])
    rotation = np.linalg.qr(random.normal(size=(size, size)))[0]
    return (random.normal(size=(n, size)) * scales @ rotation + 1.0).astype(np.float32)


class AutoencoderTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_linear_one_finds_the_principal_components(self):
        """Eckart and Young: the least squared error of rank D is the sum of the smaller eigenvalues."""
        x = data()
        eigenvalues, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        model = autoencoder()
        model.fit(x, batch_size=200, epochs=1500, verbose=0)
        error = np.square(x - model.reconstruct(x).numpy()).sum(axis=1).mean()
        self.assertAllClose(error, eigenvalues[:-2].sum(), rtol=1e-3)
        self.assertGreater(error, eigenvalues[:-2].sum() * (1 - 1e-5))
        # And the codes span the leading subspace: they predict the leading components exactly.
        code = np.column_stack([model.encode(x).mean().numpy(), np.ones(len(x))])
        leading = (x - x.mean(axis=0)) @ vectors[:, -2:]
        residual = leading - code @ np.linalg.lstsq(code, leading, rcond=None)[0]
        self.assertLess(np.abs(residual).max(), 0.05 * leading.std())

    def test_logs_the_reconstruction_alone(self):
        x, model = data(), autoencoder(hidden=(5,))
        by_hand = tfd.Normal(model.reconstruct(x), 1.0).log_prob(x).numpy().sum(axis=1).mean()
        logs = model.evaluate(x, return_dict=True, verbose=0)
        self.assertEqual(set(logs), {"loss", "reconstruction"})
        self.assertAllClose(logs["reconstruction"], by_hand, rtol=1e-5)
        self.assertAllClose(logs["loss"], -by_hand, rtol=1e-5)
        history = model.fit(x, validation_data=x, epochs=2, verbose=0).history
        self.assertEqual(set(history), {"loss", "reconstruction", "val_loss", "val_reconstruction"})

    @pytest.mark.slow
    def test_noise_plays_no_part(self):
        x = data()
        models = [autoencoder(hidden=(5,)) for _ in range(2)]
        models[1].seed = 7
        for model in models:
            model.fit(x, batch_size=32, epochs=2, shuffle=False, verbose=0)
        for a, b in zip(models[0].trainable_weights, models[1].trainable_weights, strict=True):
            self.assertAllEqual(a, b)
        terms = models[0].terms(x, samples=3)
        self.assertAllEqual(terms.z[0], terms.z[2])
        self.assertAllEqual(terms.z[0], models[0].encode(x).mean())

    def test_there_is_no_made_up_elbo(self):
        x, model = data(), autoencoder()
        self.assertIsNone(divergences.kl(model.encode(x), model.prior.distribution()))
        terms = model.terms(x)
        self.assertEqual((terms.log_qz_x, terms.kl, terms.kl_per_dim), (None, None, None))
        for call in (
            lambda: model.elbo(x),
            lambda: kvae.evaluate.log_likelihood(model, x),
            lambda: kvae.evaluate.summary(model, x),
        ):
            with self.assertRaisesRegex(ValueError, "needs a density.*Deterministic.*vae.evaluate"):
                call()
        networks = kvae.networks.mlp((6,), 2)
        for objective in ("elbo", kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 0.0, 2))):
            with self.assertRaisesRegex(ValueError, r"no density.*objective=kvae.objectives.ELBO\(beta=0\)"):
                kvae.VAE(*networks, posterior="deterministic", objective=objective)

    @pytest.mark.slow
    def test_save_and_export(self):
        x, model = data(), autoencoder(hidden=(5,))
        model.fit(x, epochs=1, verbose=0)
        path = self.create_tempdir().full_path
        model.save(f"{path}/model.keras")
        again = kvae.load_model(f"{path}/model.keras")
        self.assertAllEqual(again.reconstruct(x), model.reconstruct(x))
        served = tf.saved_model.load(model.export(f"{path}/1")).signatures
        self.assertNotIn("score", served)
        encoded = served["encode"](x=x)
        self.assertEqual(set(encoded), {"mean", "valid"})
        self.assertAllClose(encoded["mean"], model.encode(x).mean(), rtol=1e-5, atol=1e-6)
        self.assertAllClose(served["reconstruct"](x=x)["mean"], model.reconstruct(x), rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    tf.test.main()
