"""Messages of `kvae.anomaly`: place to (call, message[, type])."""

import functools
import sys
from unittest import mock

import numpy as np

from kvae.anomaly import Detector
from kvae.models.saving import save_model
from kvae.sklearn import VAEEstimator
from tests.messages.given import X, path, vae


@functools.cache
def _detector() -> Detector:
    return Detector(vae(), "reconstruction").calibrate(X)


def _many(times: int) -> np.ndarray:
    """Distinct rows, ten times as many."""
    return np.concatenate([X + i for i in range(times)])


def _without_scipy():
    with mock.patch.dict(sys.modules, {"scipy": None}):
        _detector().drift(X)


def _not_finite():
    detector = Detector(vae(), "reconstruction")
    with mock.patch.object(detector._scorer, "of", lambda _: np.array([1.0, np.inf])):
        detector.calibrate(X)


def _of_other_weights():
    detector = Detector(vae(), "reconstruction").calibrate(X)
    detector.calibration = detector.calibration._replace(weights=-1)
    detector.p_value(X)


def _without_alarms():
    rows = np.tile(X, (2, 1))
    VAEEstimator(hidden=(), epochs=0, jit_compile=False).fit(rows).predict(rows)


def _lost_in_float32():
    rows = np.concatenate([X, X]).astype(np.float64)
    rows[:, 4] += 1e9
    VAEEstimator(hidden=(), epochs=0, jit_compile=False).fit(rows)


def _of_another_form():
    save_model(vae(), path("odd.keras"), {"detector": {"constructor": {}}})
    Detector.load(path("odd.keras"))


def _without_detector():
    vae().save(path("alone.keras"))
    Detector.load(path("alone.keras"))


ROWS = {
    "anomaly.conformal.rank": [
        (
            lambda: _detector().predict(X, 0.05),
            r"alpha=0.05 is below 1 / 11, the smallest p-value that 10 calibration rows give: there would never be .*"
            r"Calibrate on 19 rows or more, or take a larger alpha",
        ),
    ],
    "anomaly.drift.statistics": [
        (
            _without_scipy,
            r'The tests of kvae.anomaly come from SciPy: pip install "kvae-keras\[anomaly\]"',
            ImportError,
        ),
    ],
    "anomaly.drift.drift": [
        (lambda: _detector().drift(X[:1]), "two samples of two rows or more, got 1 beside 10 of the calibration. Give"),
    ],
    "anomaly.held_out.check_held_out": [
        (
            lambda: Detector(vae()).calibrate(_many(4), _many(4)),
            "Of the 40 calibration rows 40 are rows of the training data: their scores are too low.*neither trained",
        ),
        (
            lambda: Detector(vae()).calibrate(_many(4), np.concatenate([_many(9), X])),
            "40 are rows of the training data, and equal rows among them explain 9: their scores",
        ),
    ],
    "anomaly.detector.Detector.calibrate": [
        (
            lambda: Detector(vae(), "typicality").calibrate(X + 0.5),
            r"score='typicality' needs the training rows, over which .*: calibrate\(x, train=...\)",
        ),
        (
            _not_finite,
            r"The scores of 1 of 2 calibration rows are not finite. kvae.evaluate.score\(vae, x\) shows .*train",
        ),
    ],
    "anomaly.detector.Detector._calibrated": [
        (lambda: Detector(vae()).p_value(X), r"not calibrated: call calibrate\(x\) with held-out normal rows first"),
        (_of_other_weights, r"weights have changed since the calibration: call calibrate\(x\) again"),
    ],
    "anomaly.files.load": [
        (_without_detector, "alone.keras holds a model, but no detector. Read it with kvae.load_model, or calibrate o"),
        (
            _of_another_form,
            r"odd.keras holds a detector of another form. Calibrate one anew, on kvae.load_model\('.*odd",
        ),
    ],
    "sklearn.VAEEstimator.fit": [
        (
            _lost_in_float32,
            r"Columns \[4\] of X vary, but not in float32, in which .* as StandardScaler does",
            UserWarning,
        ),
    ],
    "sklearn.VAEEstimator.predict": [
        (
            _without_alarms,
            "predict raises no alarm: 4 calibration rows are too few for alpha=0.1. Give more rows, a larger alpha or",
            UserWarning,
        ),
    ],
    "numerics.arguments.choice": [
        (
            lambda: Detector(vae(), "likelihood"),
            "score must be 'log_likelihood', 'elbo', 'reconstruction' or 'typicality', got 'likelihood'",
        ),
    ],
}
