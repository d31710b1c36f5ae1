"""Messages about parts of a user's own: place to (call, message[, type])."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

import kvae
from tests.messages.given import X, mlp


class Posterior(kvae.posteriors.Posterior):
    """Writes itself down by a function from parameters to a distribution."""

    def __init__(self, of, draw=None):
        super().__init__()
        self.written, self.drawn = of, draw

    def _units(self, latent_dim):
        return latent_dim

    def _bias(self, latent_dim):
        return [0.0] * latent_dim

    def of(self, parameters):
        return self.written(parameters)

    def draw(self, q, eps):
        return super().draw(q, eps) if self.drawn is None else self.drawn(q, eps)


class Prior(kvae.priors.Prior):
    def __init__(self, distribution):
        super().__init__()
        self.written = distribution

    def distribution(self, encode=None, condition=None):
        return self.written


class Likelihood(kvae.likelihoods.Likelihood):
    support, measure = kvae.data.REAL, "density"

    def distribution(self, features):
        return tfd.Normal(self._event(features)[0], 1.0)


class UnwrittenPrior(kvae.priors.Prior):
    pass


class UnwrittenLikelihood(kvae.likelihoods.Likelihood):
    pass


class Objective(kvae.objectives.Objective):
    samples = 1


def _normal(loc):
    return tfd.MultivariateNormalDiag(loc, tf.ones_like(loc))


def _vae(**parts):
    return lambda: kvae.VAE(*mlp(), **{name: make() for name, make in parts.items()})


UNDEFINED = {
    "posteriors.base.Posterior._units": _vae(posterior=kvae.posteriors.Posterior),
    "posteriors.base.Posterior._bias": lambda: kvae.posteriors.Posterior()._bias(3),
    "posteriors.base.Posterior.of": lambda: kvae.posteriors.Posterior().of(X),
    "priors.base.Prior.distribution": _vae(prior=UnwrittenPrior),
    "likelihoods.base.Likelihood.distribution": _vae(likelihood=UnwrittenLikelihood),
    "likelihoods.base.Likelihood.draw": lambda: Likelihood().draw(None, X),
    "likelihoods.base.Likelihood.matching": lambda: Likelihood().matching(X),
    "objectives.base.Objective.loss": _vae(objective=Objective),
    "objectives.base.Objective.get_config": lambda: Objective().get_config(),
}
ROWS = {
    place: [(call, rf"^\w+ must define {place.split('.')[-1]}. CONTRIBUTING.md shows what it", NotImplementedError)]
    for place, call in UNDEFINED.items()
}
ROWS |= {
    "models.part_checks._check": [
        (
            _vae(posterior=lambda: Posterior(lambda p: tfd.Normal(p, 1.0))),
            r"Posterior's distribution has event shape \(\) and batch shape \(1, 3\) for one example, but they must be "
            r"\(3,\) and \(1,\). tfd.Independent\(p, 1\) makes the last axis of a batch an event",
        ),
        (
            _vae(posterior=lambda: Posterior(lambda p: _normal(p[:, :2]))),
            r"Posterior's distribution has event shape \(2,\) .* must be \(3,\) and \(1,\). tfd.Independent",
        ),
        (
            _vae(prior=lambda: Prior(tfd.Normal(tf.zeros(3), 1.0))),
            r"Prior's distribution has event shape \(\) and batch shape \(3,\) .* must be \(3,\) and \(\) or \(1,\)",
        ),
        (
            _vae(prior=lambda: Prior(_normal(tf.zeros(5)))),
            r"Prior's distribution has event shape \(5,\) and batch shape \(\) .* must be \(3,\) and \(\) or \(1,\)",
        ),
        (
            _vae(likelihood=Likelihood),
            r"Likelihood's distribution has event shape \(\) and batch shape \(1, 6\) .* must be \(6,\) and \(1,\)",
        ),
        (
            _vae(posterior=lambda: Posterior(lambda p: p)),
            "Posterior's distribution must be one of tensorflow_probability.distributions, got <tf.Tensor",
        ),
    ],
    "models.part_checks._check_draw": [
        (
            _vae(posterior=lambda: Posterior(_normal, lambda q, eps: eps[..., :2])),
            r"Posterior's draw has shape \(1, 1, 2\) for one example, but it must have \(1, 1, 3\): that of the noise",
        ),
    ],
}
