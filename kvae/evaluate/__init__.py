"""Estimates with error bars: the log-likelihood, the ELBO and its terms, gaps, codes; and a diagnosis in words."""

from kvae.evaluate.aggregate_posterior import rate
from kvae.evaluate.annealed_importance import ais, sandwich
from kvae.evaluate.baselines import independent_pixels
from kvae.evaluate.comparisons import Comparison, compare
from kvae.evaluate.diagnosis import Diagnosis, diagnose
from kvae.evaluate.disentanglement import DCI, dci, factor_vae_score, mutual_information_gap, sap
from kvae.evaluate.estimates import Estimate, bits_per_dim
from kvae.evaluate.gaussian import Gaussian, gaussian
from kvae.evaluate.imputation import Imputation, imputation
from kvae.evaluate.inference_gaps import gaps
from kvae.evaluate.latent_dimensions import collapse, collapsed, kl_per_dimension
from kvae.evaluate.nearest_neighbours import knn_accuracy
from kvae.evaluate.prior_gaps import prior_gap
from kvae.evaluate.rate_distortion_curve import RateDistortion, rate_distortion
from kvae.evaluate.scale_calibration import (
    CalibrationByElement,
    CalibrationByScale,
    calibration,
    calibration_by_element,
    calibration_by_scale,
)
from kvae.evaluate.scores import LogLikelihoods, Scores, log_likelihood_per_example, score
from kvae.evaluate.summaries import log_likelihood, summary

__all__ = [
    "DCI",
    "CalibrationByElement",
    "CalibrationByScale",
    "Comparison",
    "Diagnosis",
    "Estimate",
    "Gaussian",
    "Imputation",
    "LogLikelihoods",
    "RateDistortion",
    "Scores",
    "ais",
    "bits_per_dim",
    "calibration",
    "calibration_by_element",
    "calibration_by_scale",
    "collapse",
    "collapsed",
    "compare",
    "dci",
    "diagnose",
    "factor_vae_score",
    "gaps",
    "gaussian",
    "imputation",
    "independent_pixels",
    "kl_per_dimension",
    "knn_accuracy",
    "log_likelihood",
    "log_likelihood_per_example",
    "mutual_information_gap",
    "prior_gap",
    "rate",
    "rate_distortion",
    "sandwich",
    "sap",
    "score",
    "summary",
]
