"""A variational autoencoder as a scikit-learn estimator. Import it by name: `import kvae.sklearn`."""

import random
import warnings

import keras
import numpy as np

import kvae
from kvae._environment import install
from kvae.anomaly.conformal import threshold
from kvae.numerics import arguments

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"kvae.sklearn needs scikit-learn 1.6 or later: {install('anomaly')}") from error


class VAEEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, BaseEstimator):
    """Dense networks with a normal posterior on the columns of a table: codes, densities and anomalies.

    It works in `Pipeline`, `GridSearchCV`, `cross_val_score` and `clone`. `score` is the mean ELBO in nats, at beta = 1
    whatever beta is, so that a grid search picks by the ELBO of held-out rows. `fit` keeps a share of the rows for
    calibration and trains on the others.

    Args:
        latent_dim: the number of latent dimensions.
        hidden: the sizes of the encoder's hidden layers; the decoder's are the reverse. () gives a linear model.
        likelihood: a name or a `kvae.likelihoods.Likelihood`; None for `Normal(per="element")`, which keeps a mean and
            a scale of each column, so that columns need not be standardised.
        beta: the weight of the KL term in training.
        epochs, batch_size, learning_rate: of Adam.
        anomaly_score, samples: what `score_samples` is by, as `score` and `samples` of `kvae.anomaly.Detector`.
        alpha: the share of false alarms that `predict` has on normal rows.
        calibration: the share of the rows that are kept for calibration. `predict` raises no alarm where these are
            fewer than 1 / alpha - 1.
        jit_compile: as for `VAE.compile`.
        random_state: of the first weights, the noise, the order and the rows for calibration.
        verbose: as for `VAE.fit`.

    Attributes:
        vae_: the trained `kvae.VAE`.
        detector_: the calibrated `kvae.anomaly.Detector`.
        offset_: the score of `score_samples` below which a row is an anomaly; -inf where none is.
        n_features_in_, feature_names_in_: of X.
    """

    def __init__(
        self, latent_dim=2, *, hidden=(64,), likelihood=None, beta=1.0, epochs=100, batch_size=64, learning_rate=1e-3,
        anomaly_score="elbo", samples=16, alpha=0.1, calibration=0.2, jit_compile="auto", random_state=None, verbose=0,
    ):  # fmt: skip
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.anomaly_score = anomaly_score
        self.samples = samples
        self.alpha = alpha
        self.calibration = calibration
        self.jit_compile = jit_compile
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """Train on rows X `[N, columns]`; y is ignored."""
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        alpha = arguments.number("alpha", self.alpha, above=0.0, below=1.0)
        share = arguments.number("calibration", self.calibration, above=0.0, below=1.0)
        held = min(max(1, round(share * len(X))), len(X) - 1)
        seed = int(check_random_state(self.random_state).randint(2**31))
        order = np.random.default_rng(seed).permutation(len(X))
        train = X[order[held:]].astype(np.float32)
        lost = np.flatnonzero((np.ptp(train, axis=0) == 0.0) & (np.ptp(X[order[held:]], axis=0) > 0.0))
        if lost.size:
            warnings.warn(
                f"Columns {lost.tolist()} of X vary, but not in float32, in which the model computes: it sees "
                "constants. Take a column's mean off first, in float64, as StandardScaler does.",
                stacklevel=2,
            )
        self.vae_ = self._model(X.shape[1], seed)
        self.vae_.adapt(train)
        self.vae_.fit(train, batch_size=self.batch_size, epochs=self.epochs, verbose=self.verbose)
        self.detector_ = kvae.anomaly.Detector(self.vae_, self.anomaly_score, self.samples, seed)
        limits = self.detector_.calibrate(X[order[:held]], train).calibration.limits
        self.offset_ = -threshold(limits, alpha) if 1.0 / (held + 1) <= alpha else -np.inf
        self._n_features_out = self.vae_.latent_dim
        return self

    def _model(self, columns: int, seed: int) -> kvae.VAE:
        """A compiled model; Keras draws the seeds of its first weights from Python's generator, which is put back."""
        likelihood = kvae.likelihoods.Normal(per="element") if self.likelihood is None else self.likelihood
        if isinstance(likelihood, kvae.likelihoods.Likelihood):
            likelihood = type(likelihood).from_config(likelihood.get_config())  # a model of its own for each fit
        state = random.getstate()
        random.seed(seed)
        try:
            networks = kvae.networks.mlp((columns,), self.latent_dim, hidden=self.hidden)
            objective = kvae.objectives.ELBO(beta=self.beta)
            vae = kvae.VAE(*networks, likelihood=likelihood, objective=objective, seed=seed)
        finally:
            random.setstate(state)
        vae.compile(keras.optimizers.Adam(self.learning_rate), jit_compile=self.jit_compile)
        return vae

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=False)

    def transform(self, X):
        """The means of q(z|x), `[N, latent_dim]`."""
        X = self._checked(X)
        return np.asarray(self.vae_.posterior.center(self.vae_.encode(X)), X.dtype)

    def inverse_transform(self, Z):
        """The means of p(x|z), `[N, columns]`, for codes Z `[N, latent_dim]`."""
        check_is_fitted(self)
        Z = check_array(Z, dtype=(np.float64, np.float32))
        return np.asarray(self.vae_.decode(Z).mean(), Z.dtype)

    def score_samples(self, X):
        """The negative anomaly score of each row, nats, `[N]`: by default its ELBO. Low is strange."""
        X = self._checked(X)
        return -self.detector_.score(X)

    def score(self, X, y=None):
        """The mean ELBO of the rows, nats, with other noise for each row; y is ignored."""
        X = self._checked(X)
        return float(np.mean(self.vae_.elbo(X, self.vae_.seed, self.samples)))

    def decision_function(self, X):
        """`score_samples` less `offset_`, `[N]`: negative for anomalies.

        Raises:
            ValueError: where the weights of `vae_` have changed since `fit`, after which `offset_` holds no more.
        """
        check_is_fitted(self)
        self.detector_._calibrated()
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """-1 for anomalies and 1 for other rows, `[N]`; of normal rows a share `alpha` at most is -1."""
        found = self.decision_function(X)
        if self.offset_ == -np.inf:
            warnings.warn(
                f"predict raises no alarm: {len(self.detector_.calibration.scores)} calibration rows are too few for "
                f"alpha={self.alpha}. Give more rows, a larger alpha or a larger share calibration=.",
                stacklevel=2,
            )
        return np.where(found < 0.0, -1, 1)

    def p_value(self, X):
        """The conformal p-value of each row, `[N]`; see `kvae.anomaly.Detector.p_value`."""
        X = self._checked(X)
        return self.detector_.p_value(X)
