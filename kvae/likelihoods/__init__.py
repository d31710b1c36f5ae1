"""Likelihoods p(x|z), whose parameters come from the decoder's output. To add one, see CONTRIBUTING.md."""

from kvae.likelihoods.base import Likelihood
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from kvae.likelihoods.normal import Normal

__all__ = ["Bernoulli", "ContinuousBernoulli", "Likelihood", "Normal"]
