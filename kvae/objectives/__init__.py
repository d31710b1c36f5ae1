"""Objectives: from the log-densities of a step to the loss of each example. To add one, see CONTRIBUTING.md."""

from kvae.objectives.base import Objective
from kvae.objectives.capacity import Capacity
from kvae.objectives.elbo import ELBO
from kvae.objectives.iwae import IWAE
from kvae.objectives.mmd import MMD
from kvae.objectives.terms import Terms
from kvae.objectives.total_correlation import TotalCorrelation

__all__ = ["ELBO", "IWAE", "MMD", "Capacity", "Objective", "Terms", "TotalCorrelation"]
