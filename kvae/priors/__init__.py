"""Priors p(z). To add one, see CONTRIBUTING.md."""

from kvae.priors.base import Prior
from kvae.priors.conditional_normal import ConditionalNormal
from kvae.priors.hierarchical import Hierarchical
from kvae.priors.standard_normal import StandardNormal

__all__ = ["ConditionalNormal", "Hierarchical", "Prior", "StandardNormal"]
