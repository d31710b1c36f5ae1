"""A probabilistic time-evolution operator on the codes of a VAE: a reduced-order model, its data and its scores."""

from kvae.dynamics import flows
from kvae.dynamics.baselines import PODRegression, persistence
from kvae.dynamics.dynamics import Dynamics
from kvae.dynamics.scores import amplitude, coverage, forecast_error, frequency, spectrum, valid_prediction_time

__all__ = [
    "Dynamics",
    "PODRegression",
    "amplitude",
    "coverage",
    "flows",
    "forecast_error",
    "frequency",
    "persistence",
    "spectrum",
    "valid_prediction_time",
]
