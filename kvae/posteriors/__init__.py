"""Approximate posteriors q(z|x). To add one, see CONTRIBUTING.md."""

from kvae.posteriors.base import Posterior
from kvae.posteriors.deterministic import Deterministic
from kvae.posteriors.diagonal_normal import DiagonalNormal
from kvae.posteriors.full_normal import FullNormal

__all__ = ["Deterministic", "DiagonalNormal", "FullNormal", "Posterior"]
