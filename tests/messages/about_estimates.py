"""Messages of `kvae.evaluate`: place to (call, message[, type])."""

import numpy as np

from kvae import evaluate
from kvae.evaluate.chains import Annealing, sigmoid_schedule
from kvae.evaluate.estimates import Estimate
from kvae.posteriors import FullNormal
from tests.messages.given import BITS, X, autoencoder, conditional, vae

FACTORS = np.arange(10)[:, None] % 2
NATS = Estimate(-3.0, 0.1, 0.0, 1.0, "nats", "mass", 1, 10)
LINE = np.linspace(0, 1, 30)


def _no_bijector():
    annealing = Annealing.of(vae(), "posterior", 2, 1)
    family = type(annealing.family)
    family.has_bijector = False
    try:
        annealing.forth_and_back(X, sigmoid_schedule(1), 0, X[:, :3])
    finally:
        del family.has_bijector


ROWS = {
    "evaluate.aggregate_posterior.rate": [
        (
            lambda: evaluate.rate(conditional(4, "conditional_normal"), (X, FACTORS[:, 0])),
            r"needs one prior p\(z\) for all examples; ConditionalNormal has one for each. kvae.evaluate.summary gives",
        ),
    ],
    "evaluate.annealed_importance.sandwich": [
        (lambda: evaluate.sandwich(vae(), exact=3), r"exact must be a pair \(x, z\) of arrays, got 3"),
        (lambda: evaluate.sandwich(vae(), exact=(X, X)), r"For 10 examples z must have shape \(10, 3\), got \(10, 6\)"),
    ],
    "evaluate.chains.Annealing.forth_and_back": [
        (_no_bijector, "A chain back from z needs the noise .* is no bijector of noise. Give start='prior'"),
    ],
    "evaluate.comparisons.compare": [
        (lambda: evaluate.compare([vae()], X), r"takes a dict of names to models, got \[<VAE"),
    ],
    "evaluate.diagnosis._names": [
        (
            lambda: evaluate.diagnose(vae(), X, columns=["a"]),
            r"a name for each column, but there are 1 for x of \(6,\)",
        ),
    ],
    "evaluate.disentanglement._checked": [
        (lambda: evaluate.sap("codes", FACTORS), r"codes must be numbers \[N, D\], got 'codes'"),
        (
            lambda: evaluate.sap(X, FACTORS[:, 0]),
            r"codes must be \[N, D\] and factors \[N, K\], got \(10, 6\) and \(10,\)",
        ),
        (
            lambda: evaluate.sap(X / 0, FACTORS),
            "codes must be finite and at most 1e.13, but 10 of 10 rows .*Leave them out",
        ),
        (lambda: evaluate.sap(X, X), r"factors must be integers \(classes\), got dtype float32. Cut numbers into cla"),
        (lambda: evaluate.sap(X, 0 * FACTORS), "No factor varies: each has one value only. Give examples that differ"),
        (lambda: evaluate.sap(0 * X, FACTORS), "No code varies: each has one value only. Train the model, or give"),
    ],
    "evaluate.estimates.check_comparable": [
        (
            lambda: NATS - NATS._replace(measure="density"),
            "A mass cannot be compared with a density: the logarithm of a",
        ),
        (
            lambda: NATS - NATS._replace(unit="", measure="mass"),
            "nats cannot be compared with a plain number. Give two",
        ),
    ],
    "evaluate.estimates.bits_per_dim": [
        (lambda: evaluate.bits_per_dim(3.0, 6), "takes an Estimate, got 3.0. kvae.evaluate.log_likelihood", TypeError),
        (
            lambda: evaluate.bits_per_dim(NATS._replace(unit=""), 6),
            "takes a log-likelihood in nats, got .*kvae.evaluate",
        ),
        (lambda: evaluate.bits_per_dim(NATS, 6, 256), "how many levels .* got a mass and levels=256"),
    ],
    "evaluate.gaussian.gaussian": [
        (
            lambda: evaluate.gaussian(vae("bernoulli"), X, X),
            r"Bernoulli explains x in \{0, 1\}. Compare with kvae.eval",
        ),
    ],
    "evaluate.gaussian.Gaussian.__init__": [
        (
            lambda: evaluate.Gaussian(X[0], X),
            r"a mean of shape \(6,\) the covariance must have shape \(6, 6\), got \(10, 6",
        ),
    ],
    "evaluate.gaussian.Gaussian.fit": [
        (lambda: evaluate.Gaussian.fit({"x": X, "mask": BITS * 0}), "Nothing was observed of .* of x. Leave them out"),
        (lambda: evaluate.Gaussian.fit(0 * X), "All training data agree on .* of x, .*Leave them out, or give ridge="),
    ],
    "evaluate.gaussian._em": [
        (
            lambda: evaluate.Gaussian.fit({"x": X[:, :2] ** [1, 3], "mask": X[:, :2] > 0.2}, 0.1, 1),
            "has not settled after 1 steps: the likelihood still rises. Give steps=10, or a ridge",
            UserWarning,
        ),
    ],
    "evaluate.gaussian._ridge": [
        (lambda: evaluate.Gaussian.fit(X, X), r"variance, or .* of shape \(6,\), got .*\(10, 6\) and dtype float32"),
    ],
    "evaluate.gaussian._check_regular": [
        (
            lambda: evaluate.Gaussian.fit(X),
            "covariance of 10 rows of 6 elements is singular.* Leave out .* or give ridge",
        ),
    ],
    "evaluate.latent_dimensions._table": [
        (
            lambda: evaluate.kl_per_dimension(vae(posterior=FullNormal), X),
            "of FullNormal from StandardNormal does not split into dimensions. kvae.evaluate.rate says how much",
        ),
    ],
    "evaluate.nearest_neighbours.knn_accuracy": [
        (
            lambda: evaluate.knn_accuracy(vae(), (X, FACTORS[:, 0]), (X, FACTORS[:, 0])),
            "neighbours must be 1 to 10, the examples of train, got 15",
        ),
    ],
    "evaluate.nearest_neighbours._coded": [
        (
            lambda: evaluate.knn_accuracy(vae(), X, X),
            r"one label for each example: give a split that has labels, or \(",
        ),
    ],
    "evaluate.prior_gaps.prior_gap": [
        (
            lambda: evaluate.prior_gap(conditional(4, "conditional_normal"), X, X),
            r"needs one prior p\(z\) for all; ConditionalNormal has one for each example. kvae.evaluate.summary gives",
        ),
        (lambda: evaluate.prior_gap(vae(), X[:1], X), "needs two examples of train or more, got 1"),
    ],
    "evaluate.progress.progress": [
        (lambda: evaluate.summary(vae(), X, verbose="loud"), "verbose must be 'auto', True or False, got 'loud'"),
    ],
    "evaluate.rate_distortion_curve.rate_distortion": [
        (
            lambda: evaluate.rate_distortion(vae(), X, 0.1),
            "betas must be positive numbers, got 0.1. Give several, such",
        ),
        (lambda: evaluate.rate_distortion(vae(), X, [-1]), r"betas must be positive numbers, got \[-1\]"),
    ],
    "evaluate.scale_calibration.calibration_by_scale": [
        (
            lambda: evaluate.calibration_by_scale(vae(), {"x": X, "mask": 0 * BITS}),
            "Nothing was observed: every element of every example is masked. A mask is 1 where x was observed",
        ),
    ],
    "evaluate.scale_calibration._checked": [
        (
            lambda: evaluate.calibration(vae("bernoulli"), BITS),
            "compares errors with the scale of a normal distribution, and Bernoulli is none. It is for kvae.",
        ),
    ],
    "models.resolve.check_density": [
        (
            lambda: evaluate.kl_per_dimension(autoencoder(), X),
            r"^the KL divergence of a dimension needs a density q\(z",
        ),
        (
            lambda: evaluate.summary(autoencoder(), X),
            r"needs a density q\(z\|x\), and the Deterministic posterior has none. What an autoencoder has is",
        ),
    ],
    "models.resolve.check_model": [
        (
            lambda: evaluate.summary("m.keras", X),
            r"A kvae.VAE is needed, got 'm.keras'. kvae.load_model\(path\)",
            TypeError,
        ),
    ],
}
