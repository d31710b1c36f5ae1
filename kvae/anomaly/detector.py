"""Strange rows, with a promise about false alarms."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kvae.anomaly import conformal, files
from kvae.anomaly.drift import Drift, drift, statistics
from kvae.anomaly.held_out import check_held_out
from kvae.anomaly.scoring import Scorer
from kvae.data import inputs
from kvae.export import saved_model
from kvae.numerics import arguments


class Calibration(NamedTuple):
    """What `Detector.calibrate` keeps.

    Attributes:
        scores: of the calibration rows in ascending order, float64 `[n]`; each is a float32.
        usual: the mean of -log p(x_e | E q(z|x)) of each element over those rows, nats, `[*event_shape]`; NaN where it
            was never observed.
        center: what typicality subtracts before it takes the size, nats; otherwise 0.
        weights: a checksum of the model's weights.
    """

    scores: np.ndarray
    usual: np.ndarray
    center: float
    weights: int

    @property
    def limits(self) -> np.ndarray:
        """The scores and the rounding within which a new score ties with them, float64 `[n]`."""
        return conformal.limits(self.scores, self.center)


class Detector:
    """Finds strange rows by a model of normal ones. A higher score is stranger.

    `p_value` compares the score s of a row with those of n held-out normal rows:

        p = (1 + #{calibration scores >= s}) / (n + 1)

    Where a new row is as normal as those (they are exchangeable), an alarm at p <= alpha is false with probability
    floor(alpha (n + 1)) / (n + 1) at most, exactly that where no scores tie. This holds for every model, good or bad,
    on average over calibration sets; a better model finds more of the strange rows. Every score uses the same noise
    for all rows, so that it is a function of x to rounding, within which scores tie: calibration scores count where
    they are >= s or lower by 1e-5 max(1, |s|) at most (for "typicality" of |s| and the center's size together), which
    only makes p larger. So equal rows of a table with few distinct ones have the same p-value in any batch.

    `x` is what `fit` takes: arrays, `(x, condition)`, dicts with `mask`, splits, finite datasets. NaN without a mask
    and values outside the support are refused. With a mask the score is that of what was observed, so the calibration
    rows must have holes as new rows have them.

    Not for finding anomalies among the rows that a model was trained on: they need a model of other rows.

    Args:
        vae: a trained `kvae.VAE`.
        score: "log_likelihood", -log p(x) by importance sampling; "elbo", -ELBO; "reconstruction",
            -log p(x | E q(z|x)), the only one for an autoencoder; "typicality", the distance of -log p(x) from its mean
            over the training rows (Nalisnick et al. 2019), for rows that are too likely, such as flat images. In nats.
        samples: draws of z for each row; for "reconstruction" none are made.
        seed: of the draws.

    References: Vovk, Gammerman, Shafer (2005), Algorithmic learning in a random world; Bates et al. (2023), Testing for
    outliers with conformal p-values, arXiv 2104.08279; Nalisnick et al. (2019), Detecting out-of-distribution inputs to
    deep generative models using typicality, arXiv 1906.02994.
    """

    def __init__(self, vae, score: str = "log_likelihood", samples: int = 100, seed: int = 0):
        self._scorer = Scorer(vae, score, samples, seed)
        self.vae, self.kind, self.samples, self.seed = vae, score, self._scorer.samples, self._scorer.seed
        self.calibration: Calibration | None = None

    def calibrate(self, x, train=None) -> "Detector":
        """Keep the scores of normal rows that the model was not trained on, and return the detector.

        Args:
            x: held-out rows that neither trained the model nor chose its epoch.
            train: the rows that the model was trained on. Rows of x among them are refused, and "typicality" takes its
                center from them. By default those of the last `fit` in this process, where they were arrays that still
                exist; otherwise nothing is known and nothing is refused. A few more than the equal rows in `train`
                explain are let through: training data in which every row stands twice (tiled) switch the check off,
                and so do calibration and training sets of fewer than some fifteen rows.

        Raises:
            ValueError: for rows of the training data, scores that are not finite, and typicality without training rows.
        """
        x, train = inputs.repeatable(x), inputs.repeatable(train)
        known = self.vae.fitted_to if train is None else inputs.in_memory(train)
        if known is not None:
            check_held_out(inputs.in_memory(x), known)
        center = 0.0
        if self.kind == "typicality":
            if known is None:
                raise ValueError(
                    "score='typicality' needs the training rows, over which it takes the mean of -log p(x): "
                    "calibrate(x, train=...)."
                )
            center = float(np.float32(self._scorer.of(known if train is None else train).mean()))
        scores = self._centered(self._scorer.of(x), center)
        if not np.isfinite([center, *scores]).all():
            raise ValueError(
                f"The scores of {np.sum(~np.isfinite(scores))} of {len(scores)} calibration rows are not finite. "
                "kvae.evaluate.score(vae, x) shows the terms of each; leave these rows out, or train the model again."
            )
        total = seen = np.zeros(self.vae.event_shape)
        for each, mask in self._scorer.elements(x):
            total, seen = total + each.sum(axis=0), seen + mask.sum(axis=0)
        usual = np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
        self.calibration = Calibration(np.sort(scores), usual, center, self._checksum())
        return self

    def score(self, x) -> np.ndarray:
        """How strange each row is, nats, float64 `[N]`; higher is stranger, infinite where log p(x) is not finite."""
        if self.kind == "typicality":
            return self._centered(self._scorer.of(x), self._calibrated().center)
        return self._scorer.of(x)

    def p_value(self, x) -> np.ndarray:
        """The p-value of each row, float64 `[N]`, from 1 / (n + 1) to 1; small is strange."""
        return conformal.p_values(self._calibrated().limits, self.score(x))

    def decision_function(self, x, alpha: float = 0.05) -> np.ndarray:
        """The threshold at alpha less the score, float64 `[N]`: negative for anomalies, as in scikit-learn."""
        return conformal.threshold(self._calibrated().limits, alpha) - self.score(x)

    def predict(self, x, alpha: float = 0.05) -> np.ndarray:
        """-1 for rows with p_value <= alpha, which are anomalies, and 1 for others, as in scikit-learn; int `[N]`.

        Raises:
            ValueError: for an alpha below 1 / (n + 1), at which there would never be an alarm.
        """
        return np.where(self.decision_function(x, alpha) < 0.0, -1, 1)

    def select(self, x, fdr: float = 0.1) -> np.ndarray:
        """Which of these rows to call anomalies so that at most a share `fdr` of them is false on average; bool `[N]`.

        By Benjamini and Hochberg's rule (`scipy.stats.false_discovery_control`), which holds for conformal p-values
        although they share their calibration rows (Bates et al. 2023). The answer for a row depends on the others.

        Raises:
            ImportError: without SciPy.
        """
        fdr = arguments.number("fdr", fdr, above=0.0, below=1.0)
        return statistics().false_discovery_control(self.p_value(x)) <= fdr

    def contributions(self, x) -> np.ndarray:
        """How much each element makes its row strange, nats, float64 `[N, *event_shape]`.

        0 where it is masked, and NaN where it is not, but was so in all calibration rows.

        -log p(x_e | E q(z|x)) less its mean over the calibration rows, so that an element's unit does not count. Over
        an unmasked row they sum to its "reconstruction" score less that of the calibration rows on average.
        """
        usual = self._calibrated().usual
        parts = [np.where(mask, each - usual, 0.0) for each, mask in self._scorer.elements(x)]
        return np.concatenate(parts)

    def drift(self, x) -> Drift:
        """Whether the scores of these rows have the calibration's distribution; see `Drift`.

        Raises:
            ImportError: without SciPy.
        """
        return drift(self._calibrated().scores, self.score(x))

    def save(self, path) -> None:
        """Write a `.keras` file that holds the model and the detector.

        `Detector.load` reads both, `kvae.load_model` the model alone.
        """
        files.save(path, self.vae, self._calibrated(), {"score": self.kind, "samples": self.samples, "seed": self.seed})

    @classmethod
    def load(cls, path) -> "Detector":
        """The detector in a file that `save` wrote, with its model as `detector.vae`.

        Raises:
            ValueError: for a file without a detector.
        """
        vae, arguments_, calibration = files.load(path)
        detector = cls(vae, **arguments_)
        detector.calibration = Calibration(**calibration)
        return detector

    def export(self, path, samples: int = 100, results: dict | None = None, verbose: bool = True) -> str:
        """Write the model's SavedModel, whose `score` also gives `anomaly_score` and `p_value` (float64).

        The arguments are those of `kvae.export.saved_model`. A row's p-value means little where `valid` is False.
        """
        return saved_model(self.vae, path, samples, results, verbose, scored=self._served(self._calibrated()))

    def _served(self, calibration: Calibration) -> Callable:
        limits = calibration.limits
        n = len(limits)
        p_values = (1.0 + np.arange(n, -1, -1)) / (n + 1)  # by how many scores are below

        def scored(batch):
            score = tf.cast(self._scorer.of_batch(batch), tf.float32)
            if self.kind == "typicality":
                score = tf.abs(score - calibration.center)
            below = tf.searchsorted(tf.constant(limits), tf.cast(score, tf.float64), side="left")
            return {"anomaly_score": score, "p_value": tf.gather(tf.constant(p_values), below)}

        return scored

    def _centered(self, scores, center):
        if self.kind != "typicality":
            return scores
        return np.abs(scores.astype(np.float32) - np.float32(center)).astype(np.float64)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise ValueError("The detector is not calibrated: call calibrate(x) with held-out normal rows first.")
        if self.calibration.weights != self._checksum():
            raise ValueError("The model's weights have changed since the calibration: call calibrate(x) again.")
        return self.calibration

    def _checksum(self) -> int:
        found = 0
        for part in self.vae.parts():
            for weight in part.weights:
                found = zlib.crc32(weight.numpy().tobytes(), found)
        return found
