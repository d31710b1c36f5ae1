"""Objectives: from the log-densities of a step to the loss of each example. To add one, see CONTRIBUTING.md."""

from kvae.objectives.base import Objective, Terms
from kvae.objectives.elbo import ELBO
from kvae.objectives.iwae import IWAE

__all__ = ["ELBO", "IWAE", "Objective", "Terms"]
