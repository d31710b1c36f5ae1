"""`kvae.sklearn`: scikit-learn's own checks, and what it says against the model itself."""

import os
import pathlib
import random
import subprocess
import sys
import unittest

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import kvae
from kvae.sklearn import VAEEstimator
from tests.anomaly.models import rows

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = {"hidden": (8,), "epochs": 5, "jit_compile": False, "samples": 4, "random_state": 0}
X = 100.0 + rows(300, 30).astype(np.float64) * [1, 1, 10, 1000, 0.1, 1]  # columns of unlike units


@pytest.fixture(scope="module")
def fitted():
    return VAEEstimator(**SMALL, learning_rate=1e-2).fit(X)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([VAEEstimator(hidden=(8,), epochs=1, jit_compile=False, samples=2)])
def test_scikit_learns_own_checks(estimator, check):
    try:
        check(estimator)
    except unittest.SkipTest as skipped:  # scikit-learn checks array API input only where this is set
        assert "SCIPY_ARRAY_API" in str(skipped)


@pytest.mark.slow
def test_it_is_the_model(fitted):
    codes = fitted.transform(X)
    np.testing.assert_allclose(codes, fitted.vae_.encode(X).mean(), rtol=1e-5)
    np.testing.assert_allclose(fitted.inverse_transform(codes), fitted.vae_.reconstruct(X), rtol=1e-5)
    assert codes.dtype == np.float64 and fitted.transform(X.astype(np.float32)).dtype == np.float32
    scorer = kvae.anomaly.Detector(fitted.vae_, "elbo", 4, fitted.detector_.seed)
    np.testing.assert_array_equal(fitted.score_samples(X), -scorer.score(X))
    terms = fitted.vae_.terms(X, samples=200, seed=1)
    elbo = np.mean(terms.log_px_z, axis=0) - np.asarray(terms.kl)
    error = np.std(terms.log_px_z, axis=0).mean() / np.sqrt(4 * len(X))  # of four draws for each row
    assert fitted.score(X) == pytest.approx(elbo.mean(), abs=4 * error)


@pytest.mark.slow
def test_other_scores_and_beta():
    other = VAEEstimator(**SMALL | {"epochs": 1}, anomaly_score="reconstruction", beta=7.0).fit(X)
    p = other.vae_.decode(other.transform(X).astype(np.float32))
    exact = stats.norm(p.mean().numpy(), p.stddev().numpy()).logpdf(X).sum(1)
    np.testing.assert_allclose(other.score_samples(X), exact, rtol=1e-3)
    terms = other.vae_.terms(X, samples=100)
    elbo = np.mean(terms.log_px_z, axis=0) - np.asarray(terms.kl)  # beta has no part in it
    assert other.score(X) == pytest.approx(elbo.mean(), abs=0.3)


def test_alarms(fitted):
    """60 rows are kept: floor(0.1 * 61) / 61 of new rows raise an alarm, strange ones more."""
    assert len(fitted.detector_.calibration.scores) == 60
    new = 100.0 + rows(2000, 31) * [1, 1, 10, 1000, 0.1, 1]
    found = fitted.predict(new)
    np.testing.assert_array_equal(found == -1, fitted.p_value(new) <= 0.1)
    np.testing.assert_array_equal(found == -1, fitted.decision_function(new) < 0)
    np.testing.assert_array_equal(fitted.decision_function(new), fitted.score_samples(new) - fitted.offset_)
    rate = stats.betabinom(2000, 6, 55)  # given one calibration set, the rate is Beta(6, 55)
    assert rate.ppf(0.001) <= np.sum(found == -1) <= rate.ppf(0.999)


def test_other_weights_need_another_fit(fitted):
    weight = fitted.vae_.encoder.weights[-1]
    kept = weight.numpy()
    weight.assign(kept + 1.0)
    for call in (fitted.decision_function, fitted.predict, fitted.p_value):
        with pytest.raises(ValueError, match="weights have changed since the calibration"):
            call(X)
    weight.assign(kept)
    fitted.predict(X)


@pytest.mark.slow
def test_columns_that_float32_does_not_hold():
    """A constant, and a column that varies in float32 as well, are left in peace."""
    model = VAEEstimator(**SMALL | {"epochs": 0})
    model.fit(np.concatenate([X, np.full((300, 1), 1e9)], axis=1))
    wide = X.copy()
    wide[:, [0, 5]] = 1e9 + rows(300, 32)[:, :2].astype(np.float64)
    with pytest.warns(UserWarning, match=r"Columns \[0, 5\] of X vary, but not in float32"):
        model.fit(wide)


@pytest.mark.slow
def test_too_few_rows_for_an_alarm():
    few = VAEEstimator(**SMALL, alpha=0.05).fit(X[:40])
    assert few.offset_ == -np.inf
    with pytest.warns(UserWarning, match=r"no alarm: 8 calibration rows are too few for alpha=0.05. Give more rows"):
        assert (few.predict(X) == 1).all()


@pytest.mark.slow
def test_a_function_of_its_random_state():
    states = random.getstate(), np.random.get_state()
    one, again, other = (VAEEstimator(**SMALL | {"random_state": seed, "epochs": 1}).fit(X) for seed in (1, 1, 2))
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1][1])
    np.testing.assert_array_equal(one.score_samples(X), again.score_samples(X))
    assert not np.allclose(one.transform(X), other.transform(X))


@pytest.mark.slow
def test_names_and_frames():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = VAEEstimator(**SMALL | {"epochs": 1}).set_output(transform="pandas").fit(frame)
    assert list(model.feature_names_in_) == list("abcdef")
    assert list(model.transform(frame).columns) == ["vaeestimator0", "vaeestimator1"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("fedcba")])


@pytest.mark.slow
def test_a_likelihood_of_ones_own():
    """Given as an instance, it serves many fits: each has its own."""
    likelihood = kvae.likelihoods.StudentT(scale="learned")
    model = VAEEstimator(**SMALL | {"epochs": 1}, likelihood=likelihood)
    one, two = model.fit(X), clone(model).fit(X)
    assert isinstance(two.vae_.likelihood, kvae.likelihoods.StudentT) and one.vae_.likelihood is not likelihood
    counts = np.random.default_rng(0).poisson(3.0, (60, 4))
    assert VAEEstimator(**SMALL | {"epochs": 1}, likelihood="poisson").fit(counts).vae_.likelihood.measure == "mass"


@pytest.mark.slow
def test_pipeline_and_cross_validation():
    y = X[:, 1] > 100.0
    model = VAEEstimator(**SMALL | {"epochs": 300}, learning_rate=1e-2)
    pipeline = make_pipeline(StandardScaler(), model, LogisticRegression())
    scores = cross_val_score(pipeline, X, y, cv=2)
    assert scores.mean() > 0.75  # half of the rows would be right by chance
    code = pipeline.fit(X, y)[:-1].transform(X)
    np.testing.assert_array_equal(pipeline.predict(X), LogisticRegression().fit(code, y).predict(code))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_grid_search_in_parallel_processes(monkeypatch):
    """Two factors made the rows: the ELBO of held-out rows finds them, and the scores are those of one process."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    model = VAEEstimator(**SMALL | {"epochs": 300}, learning_rate=1e-2)
    grid = {"latent_dim": [1, 2], "beta": [1.0, 30.0]}
    folds = KFold(2)
    search = GridSearchCV(model, grid, cv=folds, n_jobs=2).fit(X)
    assert search.best_params_ == {"latent_dim": 2, "beta": 1.0}
    train, test = next(folds.split(X))
    alone = clone(model).set_params(**search.best_params_).fit(X[train])
    assert search.cv_results_["split0_test_score"][search.best_index_] == pytest.approx(alone.score(X[test]), rel=1e-4)


@pytest.mark.slow
def test_without_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None; import kvae; import kvae.sklearn"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stderr.strip().splitlines()[-1] == (
        'ImportError: kvae.sklearn needs scikit-learn 1.6 or later: pip install "kvae-keras[anomaly]"'
    )
