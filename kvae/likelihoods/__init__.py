"""Likelihoods p(x|z), whose parameters come from the decoder's output. To add one, see CONTRIBUTING.md."""

from kvae.likelihoods.base import Likelihood
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.beta import Beta
from kvae.likelihoods.beta_binomial import BetaBinomial
from kvae.likelihoods.categorical import Categorical
from kvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from kvae.likelihoods.discretized_logistic import DiscretizedLogistic
from kvae.likelihoods.joint import Joint
from kvae.likelihoods.log_normal import LogNormal
from kvae.likelihoods.negative_binomial import NegativeBinomial
from kvae.likelihoods.normal import Normal
from kvae.likelihoods.ordinal import Ordinal
from kvae.likelihoods.poisson import Poisson
from kvae.likelihoods.student_t import StudentT
from kvae.likelihoods.zero_inflated import ZeroInflated

__all__ = [
    "Bernoulli", "Beta", "BetaBinomial", "Categorical", "ContinuousBernoulli", "DiscretizedLogistic", "Joint",
    "Likelihood", "LogNormal", "NegativeBinomial", "Normal", "Ordinal", "Poisson", "StudentT", "ZeroInflated",
]  # fmt: skip
