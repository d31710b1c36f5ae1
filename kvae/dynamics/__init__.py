"""A probabilistic time-evolution operator on the codes of a VAE: a reduced-order model."""

from kvae.dynamics import flows
from kvae.dynamics.dynamics import Dynamics

__all__ = ["Dynamics", "flows"]
