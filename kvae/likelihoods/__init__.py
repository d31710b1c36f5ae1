"""Likelihoods p(x|z), whose parameters come from the decoder's output. To add one, see CONTRIBUTING.md."""

from kvae.likelihoods.base import Likelihood
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.beta import Beta
from kvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from kvae.likelihoods.log_normal import LogNormal
from kvae.likelihoods.normal import Normal
from kvae.likelihoods.student_t import StudentT

__all__ = ["Bernoulli", "Beta", "ContinuousBernoulli", "Likelihood", "LogNormal", "Normal", "StudentT"]
