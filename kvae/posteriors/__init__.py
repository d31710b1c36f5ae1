"""Approximate posteriors q(z|x). To add one, see CONTRIBUTING.md."""

from kvae.posteriors.base import Posterior
from kvae.posteriors.bottom_up import BottomUp
from kvae.posteriors.deterministic import Deterministic
from kvae.posteriors.diagonal_normal import DiagonalNormal
from kvae.posteriors.finite_scalar import FiniteScalar
from kvae.posteriors.flow import Flow
from kvae.posteriors.full_normal import FullNormal
from kvae.posteriors.ladder import Ladder
from kvae.posteriors.low_rank_normal import LowRankNormal
from kvae.posteriors.top_down import TopDown
from kvae.posteriors.vector_quantized import VectorQuantized

__all__ = [
    "BottomUp",
    "Deterministic",
    "DiagonalNormal",
    "FiniteScalar",
    "Flow",
    "FullNormal",
    "Ladder",
    "LowRankNormal",
    "Posterior",
    "TopDown",
    "VectorQuantized",
]
