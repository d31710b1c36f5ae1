"""Priors p(z). To add one, see CONTRIBUTING.md."""

from kvae.priors.base import Prior
from kvae.priors.codes import Codes
from kvae.priors.conditional_normal import ConditionalNormal
from kvae.priors.flow import Flow
from kvae.priors.hierarchical import Hierarchical
from kvae.priors.mixture_of_normals import MixtureOfNormals
from kvae.priors.standard_normal import StandardNormal
from kvae.priors.vamp_prior import VampPrior

__all__ = [
    "Codes",
    "ConditionalNormal",
    "Flow",
    "Hierarchical",
    "MixtureOfNormals",
    "Prior",
    "StandardNormal",
    "VampPrior",
]
