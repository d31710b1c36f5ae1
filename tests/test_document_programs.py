"""The programs of `examples/documents`, in little, and some statements of docs/sources.md without another test."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats
from sklearn.datasets import load_digits

import kvae
from tests.conformance import make_vae
from tests.test_examples import program
from tests.test_oracle import digits, linear_vae, ppca, set_closed_form


def test_files_are_as_long_as_entropies_say(tmp_path):
    """Each length within 0.1 % of what the program expects, and what it expects is SciPy's."""
    rows = program("documents/code_length").run(count=200_000, output=str(tmp_path))
    found = {name: expected for name, _, expected in rows}
    assert len(found) == len(rows) == 25
    for name, measured, expected in rows:
        assert abs(measured - expected) < 1e-3 * expected, name
    p = np.bincount(load_digits().data.astype(int).ravel()) / 1797 / 64
    uniform = np.full(17, 1 / 17)
    for name, exact in (
        ("an event of probability 1/6", math.log2(6)),
        ("grey levels in their own code: H(P)", stats.entropy(p, base=2)),
        ("more than in their own: KL(P || a uniform)", stats.entropy(p, uniform, base=2)),
        ("more than in their own: KL(P || the negatives')", stats.entropy(p, p[::-1], base=2)),
        ("the other way round: KL(a uniform || P)", stats.entropy(uniform, p, base=2)),
        ("N(0, 32^2): log2(2 pi e s^2) / 2", stats.norm(0, 32).entropy() / math.log(2)),
    ):
        assert found[name] == pytest.approx(exact, rel=2e-4), name
    right, wrong = stats.norm(0, 16), stats.norm(0, 32)
    kl = integrate.quad(lambda x: right.pdf(x) * (right.logpdf(x) - wrong.logpdf(x)) / math.log(2), -120, 120)[0]
    assert found["N(0, 16^2) in the code for N(0, 32^2), more: KL"] == pytest.approx(kl, rel=1e-6)
    assert (tmp_path / "code_length.png").stat().st_size > 3000


def test_draws_from_the_prior_that_are_worth_one():
    """One latent against quadrature; and every latent more costs more draws."""
    module, x = program("documents/autoencoder"), digits()
    mean, w, s2, _, _ = ppca(x, 1)
    z = np.linspace(-8.0, 8.0, 4001)
    log_w = stats.norm(0, math.sqrt(s2)).logpdf(x[:5, None] - mean - z[:, None] * w[:, 0]).sum(-1)  # [5, K]
    moments = [np.exp(n * log_w + stats.norm.logpdf(z)).sum(1) * (z[1] - z[0]) for n in (1, 2)]
    kl, exact, measured = module.shares(x, 1, 20_000, some=5)
    assert exact == pytest.approx(np.log(moments[1] / moments[0] ** 2).mean(), abs=1e-6)
    log_p = np.log(moments[0])
    posterior = np.exp(log_w + stats.norm.logpdf(z)) / moments[0][:, None]
    by_quadrature = (posterior * (log_w - log_p[:, None])).sum(1) * (z[1] - z[0])  # E_post log p(x|z) / p(x)
    assert kl == pytest.approx(by_quadrature.mean(), abs=1e-6)
    assert measured == pytest.approx(exact, abs=0.05)
    several = [module.shares(x, q, 1000)[1] for q in (1, 2, 5, 10, 20)]
    assert np.all(np.diff(several) / np.diff((1, 2, 5, 10, 20)) > 0.3)


@pytest.mark.slow
def test_subspaces_are_those_of_pca():
    """Linear models find the subspace; a rotation of the latents leaves log p and costs a diagonal q nats."""
    rows = {row["model"]: row for row in program("documents/autoencoder").subspaces(digits(), 2000)}
    log_p = ppca(digits(), 10)[-1]
    for name in ("linear VAE, diagonal q", "linear VAE, full q"):
        assert log_p - 0.1 < rows[name]["log_p"] < log_p + 1e-6 and rows[name]["angle"] < 10.0
    assert rows["linear autoencoder"]["angle"] < 10.0
    assert rows["PCA, latents turned"]["log_p"] == pytest.approx(log_p, abs=1e-9)
    assert rows["PCA, latents turned"]["angle"] < 1e-4
    assert (
        rows["probabilistic PCA"]["loss"] == pytest.approx(0.0, abs=1e-9) and rows["probabilistic PCA"]["slant"] < 1e-9
    )
    assert rows["linear VAE, diagonal q"]["loss"] < 0.05 < 0.4 < rows["PCA, latents turned"]["loss"]
    assert rows["linear VAE, full q"]["slant"] > 0.2 > rows["linear VAE, diagonal q"]["slant"]  # not orthogonal


@pytest.mark.slow
def test_an_autoencoder_reconstructs_and_a_vae_generates():
    module = program("documents/autoencoder")
    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50)
    models = [module.trained(data, 0, 60, autoencoder=autoencoder) for autoencoder in (True, False)]
    (ae, vae) = (module.compared(model, data, 0, 5000) for model in models)
    assert ae["reconstruction"] > vae["reconstruction"] + 4.0 and ae["from N(0, I)"] < vae["from N(0, I)"] - 4.0
    assert ae["from a fitted normal"] < vae["from a fitted normal"] - 1.0  # its codes are not normal
    slopes = []
    for model in models:  # short moves in z are short moves in x: in proportion, and long ones are not longer than that
        near, far, one = module.moved(model, data.test.x, (0.001, 0.01, 1.0))
        assert far / near == pytest.approx(10.0, rel=0.05)
        assert one < 1.1 * 100.0 * far
        slopes.append(far)
    assert slopes[0] > 1.5 * slopes[1]


@pytest.mark.parametrize("threshold, k, active, kl", [
    (0.1, 20, 12, 5.479385), (0.4, 20, 3, 0.675787), (0.00125, 60, 50, 81.894526), (0.5, 20, 3, None),
    (1.0, 20, 0, 0.0),
])  # fmt: skip
def test_the_threshold_law(threshold, k, active, kl):
    """The optimum of tests/test_oracle.py, where the weights of the model are set to it."""
    module = program("documents/beta_and_k")
    values = module.eigenvalues(digits())
    by_sums = module.predicted(values, threshold / module.S2, k, "sums")
    by_means = module.predicted(values, threshold / module.S2 * k / 64, k, "means")
    np.testing.assert_allclose(by_means, by_sums, rtol=1e-9)
    assert by_sums.threshold == pytest.approx(threshold) and by_sums.active == active
    assert kl is None or by_sums.kl == pytest.approx(kl, abs=1e-6)


@pytest.mark.slow
def test_active_units_are_those_predicted(tmp_path, monkeypatch):
    """beta = 1 kills all latents under means, but not under sums; linear models as predicted, MLPs within one."""
    module = program("documents/beta_and_k")
    monkeypatch.setattr(module, "ARTICLE", [("MNIST", 1.0, 16), ("MNIST", 0.025, 3)])
    rows = module.run(output=str(tmp_path))
    assert len(rows) == 8
    for row in rows:
        p = row["predicted"]
        assert abs(row["active"] - p.active) <= (0 if row["network"] == "linear" else 1), row
        if row["network"] == "linear":
            assert row["kl"] == pytest.approx(p.kl, abs=0.02 + 0.03 * p.kl) and abs(row["spread"] - p.spread) < 0.03
    dead = [row for row in rows if row["beta"] == 1.0 and row["convention"] == "means"]
    assert [row["active"] for row in dead] == [0, 0] and max(row["spread"] for row in dead) < 1e-3
    names = {"eigenvalues.png", "beta_1_k_16.png", "beta_0.025_k_3.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.slow
def test_the_order_of_scales(tmp_path, monkeypatch):
    """s = 1 is worst, one scale for all far better, in closed form no worse than tuned, one for each pixel best."""
    module = program("documents/decoder_scale")
    monkeypatch.setattr(module, "TUNED", (0.1, 0.2))
    monkeypatch.setattr(module, "FLOORS", (0.05,))
    found = {row["scale"]: row for row in module.run(seeds=1, epochs=60, output=str(tmp_path))}
    elbo = {name: row["test"] for name, row in found.items()}
    assert elbo["s = 1"] + 30.0 < min(elbo["tuned"], elbo["learned"])  # "learned" is still on its way from s = 1
    assert max(elbo["tuned"], elbo["learned"]) < elbo["optimal"] + 2.0
    assert max(elbo["tuned"], elbo["learned"], elbo["optimal"]) + 3.0 < elbo["local"]
    assert abs(found["local"]["calibration"] - 1.0) < 0.15 and found["s = 1"]["calibration"] < 0.1
    assert elbo["s = 1"] < -58.8  # 32 log 2 pi, what s = 1 costs without any error


def test_the_same_input_twice():
    """Draws of z differ, and so do the decoded images; the way through the mean of q repeats."""
    vae, x = make_vae(), np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32).repeat(2, axis=0)
    z = vae.terms(x, seed=0).z[0].numpy()
    assert np.abs(z[0] - z[1]).max() > 0.01 and np.abs(np.diff(vae.decode(z).mean().numpy(), axis=0)).max() > 1e-4
    np.testing.assert_array_equal(*vae.reconstruct(x).numpy())


def test_a_raw_draw_has_no_gradient():
    """Of E_q log p(x|z) at z = mu + sigma eps the encoder has a gradient; where z is a number without a past, none."""
    vae, x = make_vae(), tf.constant(np.random.default_rng(0).normal(size=(8, 6)), tf.float32)
    for raw in (False, True):
        with tf.GradientTape() as tape:
            q = vae.posterior.distribution(vae.encoder(x))
            z = vae.posterior.draw(q, vae._noise(0, 1, 0, 8, 1))[0]
            p = vae.likelihood.distribution(vae.decode_features(tf.stop_gradient(z) if raw else z))
            log_px_z = tf.reduce_sum(p.log_prob(x))
        gradients = tape.gradient(log_px_z, vae.encoder.trainable_weights)
        assert all(g is None for g in gradients) if raw else float(tf.norm(gradients[0])) > 1e-3


def test_the_prior_is_the_codes_mixture_and_not_each_of_them():
    """Codes of a linear model: together N(0, I) along what is active, one by one far from it."""
    x = digits()
    vae = linear_vae(2, "learned")
    set_closed_form(vae, x, 2)
    found = kvae.evaluate.rate(vae, x.astype(np.float32))
    q = vae.encode(x.astype(np.float32))
    together = q.mean().numpy().var(axis=0) + np.square(q.stddev().numpy()).mean(axis=0)
    np.testing.assert_allclose(together, np.ones(2), atol=1e-3)  # (l - s^2) / l + s^2 / l
    assert float(q.stddev().numpy().max()) < 0.35
    assert found["mutual_information"].mean > 2.0 > 4.0 * found["marginal_kl"].mean
