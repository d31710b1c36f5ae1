"""Anomaly scores with a guarantee: p-values from held-out normal rows."""

from kvae.anomaly.detector import Detector
from kvae.anomaly.drift import Drift

__all__ = ["Detector", "Drift"]
