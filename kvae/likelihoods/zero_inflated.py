"""A likelihood of counts with more zeros than it gives."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.likelihoods.base import Likelihood
from kvae.likelihoods.beta_binomial import BetaBinomial
from kvae.likelihoods.discretized_logistic import DiscretizedLogistic
from kvae.likelihoods.integers import Integers
from kvae.likelihoods.negative_binomial import NegativeBinomial
from kvae.likelihoods.poisson import Poisson
from kvae.numerics.arguments import shown
from kvae.numerics.counts import ZeroInflated as Mass

_COUNTS = BetaBinomial, DiscretizedLogistic, NegativeBinomial, Poisson


@keras.saving.register_keras_serializable("kvae")
class ZeroInflated(Integers):
    """Counts with further zeros: log p(x|z) = sum_j log(pi_j [x_j = 0] + (1 - pi_j) f(x_j|z)).

    A mass. The decoder gives the parameters of f and, last, the logit of pi, which starts at -2.

    Args:
        likelihood: f, a `Poisson`, `NegativeBinomial`, `BetaBinomial` or `DiscretizedLogistic`. Of it counts what it is
            made with, but for `project` and `kernel_size`, which belong to this likelihood.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the parameters of f and then the logits, along the last axis.

    Raises:
        ValueError: for another likelihood. One with a density has no probability of 0 that could be larger.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        project: bool = True,
        kernel_size: int = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, kernel_size=kernel_size, name=name, dtype=dtype)
        if not isinstance(likelihood, _COUNTS):
            raise ValueError(
                f"ZeroInflated takes a likelihood of counts, got {shown(likelihood)}. Give one of "
                f"{', '.join(f'kvae.likelihoods.{kind.__name__}(...)' for kind in _COUNTS)}."
            )
        own = {"project": False, "kernel_size": 1, "dtype": self.compute_dtype}
        self.likelihood = type(likelihood).from_config(likelihood.get_config() | own)
        self.likelihood.wrapped = True

    @property
    def support(self):
        """That of f."""
        return self.likelihood.support

    @property
    def per_element(self):
        """The parameters of f, and the logit."""
        return self.likelihood.per_element + 1

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"likelihood": keras.saving.serialize_keras_object(self.likelihood)}

    @classmethod
    def from_config(cls, config):
        """The likelihood that `get_config` described."""
        return cls(**config | {"likelihood": keras.saving.deserialize_keras_object(config["likelihood"])})

    def build(self, feature_shape, event_shape):
        """Make the projections; f takes its parameters along the last axis."""
        super().build(feature_shape, event_shape)
        *places, last = self.event_shape
        self.likelihood.build((*places, self.likelihood.per_element * last), self.event_shape)

    def starts(self):
        """Those of f, and the logit of 0.12."""
        return [*self.likelihood.starts(), -2.0]

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        *parameters, logits = self._event(features)
        mass = self.likelihood.distribution(tf.concat(parameters, axis=-1)).distribution
        return self._independent(Mass(mass, logits))

    def matching(self, mean):
        """That of f, at the mean over 1 - pi."""
        return self.likelihood.matching(mean * (1.0 + np.exp(self.starts()[-1])))

    def estimated(self, mean_of, least=0.0):
        """The pi with which the fitted p gives the zeros their frequency, by bisection; 0.001 where f gives more."""
        zeros, found = mean_of(lambda x: x == 0), []

        def recorded(function):
            found.append(mean_of(function))
            return found[-1]

        def others(more):
            """f fitted to the mean of a function without the further zeros. It asks for the same means each time."""
            means = iter(found)
            return self.likelihood.estimated(
                lambda function: (next(means) - more * function(np.zeros(zeros.shape))) / (1.0 - more), least
            )

        self.likelihood.estimated(recorded, least)
        low, high = np.full(zeros.shape, _LEAST), np.clip(zeros, _LEAST, 1.0 - _LEAST)
        for _ in range(20):
            more = (low + high) / 2
            enough = more + (1.0 - more) * self._of_zero(others(more)) >= zeros
            low, high = np.where(enough, low, more), np.where(enough, more, high)
        return [*others(low), np.log(low) - np.log1p(-low)]

    def _of_zero(self, parameters) -> np.ndarray:
        """The probability of 0 under f with these parameters, the others being as they start."""
        size, f = parameters[0].size, self.likelihood
        probe = type(f).from_config(f.get_config())
        probe.build((f.per_element * size,), (size,))
        others = np.repeat(f.starts()[len(parameters) - 1 :], size)
        p = probe.distribution(tf.constant([np.concatenate([*map(np.ravel, parameters), others])], f.compute_dtype))
        return p.distribution.prob(0.0).numpy().reshape(parameters[0].shape)


_LEAST = 1e-3  # of pi, which ends at 0.999
