"""Scores against their definitions in NumPy; masks, conditions, files, the SavedModel; what is refused."""

import math
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import kvae
from kvae.anomaly import Detector
from kvae.anomaly.held_out import check_held_out
from kvae.data.splits import Split
from kvae.numerics import noise
from tests.anomaly.models import rows, vae
from tests.conformance import examples, make_vae, slow_but
from tests.test_oracle import digits, linear_vae, set_closed_form

X = rows(40, 10)


def terms_by_hand(model, x, samples, seed):
    """log p(x|z) and log p(z) - log q(z|x), `[S, B]` in float64, at the same noise for all rows."""
    eps = noise.normal(seed, noise.IMPORTANCE, 0, samples, 2).numpy().astype(np.float64)
    q = model.encode(x)
    mean, scale = (t.numpy().astype(np.float64) for t in (q.mean(), q.stddev()))
    z = mean + scale * eps[:, None]
    p = model.decode(z.astype(np.float32))
    log_px_z = stats.norm(p.mean().numpy(), p.stddev().numpy()).logpdf(x).sum(-1)
    return log_px_z, (stats.norm.logpdf(z) - stats.norm(mean, scale).logpdf(z)).sum(-1), mean, scale


def scores_by_hand(model, x, samples, seed):
    log_px_z, log_ratio, mean, scale = terms_by_hand(model, x, samples, seed)
    kl = (0.5 * (mean**2 + scale**2 - 1.0) - np.log(scale)).sum(-1)
    p = model.decode(model.encode(x).mean())
    return {
        "log_likelihood": math.log(samples) - special.logsumexp(log_px_z + log_ratio, axis=0),
        "elbo": kl - log_px_z.mean(0),
        "reconstruction": -stats.norm(p.mean().numpy(), p.stddev().numpy()).logpdf(x).sum(-1),
    }


@pytest.mark.parametrize("score", ["log_likelihood", "elbo", "reconstruction"])
def test_scores_by_hand(score):
    expected = scores_by_hand(vae(), X, 30, 3)[score]
    found = Detector(vae(), score, samples=30, seed=3).score(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    if score != "log_likelihood":
        return
    with mock.patch.object(kvae.models.importance, "FLOATS_AT_A_TIME", 7 * 40 * 8):  # in parts, the last incomplete
        vae().renew()
        np.testing.assert_allclose(Detector(vae(), score, samples=30, seed=3).score(X), expected, rtol=1e-4)
    vae().renew()


@pytest.mark.slow
def test_typicality_by_hand():
    train = rows(60, 11)
    detector = Detector(vae(), "typicality", samples=20).calibrate(X, train)
    center = scores_by_hand(vae(), train, 20, 0)["log_likelihood"].mean()
    expected = np.abs(scores_by_hand(vae(), X, 20, 0)["log_likelihood"] - center)
    np.testing.assert_allclose(detector.score(X), expected, atol=2e-4)
    np.testing.assert_allclose(detector.calibration.scores, np.sort(expected), atol=2e-4)
    likely = np.zeros((1, 6), np.float32)  # the mode: more likely than normal rows are, and strange for it
    assert detector.p_value(likely) < Detector(vae()).calibrate(X).p_value(likely)


@pytest.mark.parametrize("score", slow_but(["elbo", "log_likelihood", "reconstruction"], "elbo"))
def test_a_row_has_its_score_in_any_batch(score):
    detector, order = Detector(vae(), score, samples=10), np.random.default_rng(0).permutation(40)
    scores = detector.score(X)
    np.testing.assert_allclose(detector.score(X[order]), scores[order], rtol=1e-5)
    np.testing.assert_allclose(detector.score(np.repeat(X[5:6], 600, axis=0)), np.full(600, scores[5]), rtol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(3)
    np.testing.assert_allclose(detector.score(dataset), scores, rtol=1e-5)


@pytest.mark.slow
def test_a_linear_model_ranks_as_pca_does():
    """Its log p(x) is that of probabilistic PCA, which scikit-learn's PCA has in closed form."""
    x = digits()
    model = linear_vae(10, "learned")
    set_closed_form(model, x, 10)
    random = np.random.default_rng(0)
    strange = x[:300] + random.normal(size=(300, 64)) * 0.15
    both = np.concatenate([x, strange]).astype(np.float32)
    labels = np.repeat([0, 1], [len(x), 300])
    pca = PCA(10, svd_solver="full").fit(x)
    expected = -stats.multivariate_normal(pca.mean_, pca.get_covariance() * (len(x) - 1) / len(x)).logpdf(both)
    found = Detector(model, "log_likelihood", samples=3).score(both)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)
    auroc = roc_auc_score(labels, -pca.score_samples(both))
    assert 0.6 < auroc < 0.999
    np.testing.assert_allclose(roc_auc_score(labels, found), auroc, atol=1e-5)


def test_contributions():
    """A column's are those of its own density; over a row they are its score above the usual one."""
    detector = Detector(vae(), "reconstruction").calibrate(X)
    new = rows(30, 12)
    new[:, 4] += 3.0
    found = detector.contributions(new)
    p, own = vae().decode(vae().encode(new).mean()), vae().decode(vae().encode(X).mean())
    usual = -stats.norm(own.mean().numpy(), own.stddev().numpy()).logpdf(X).mean(0)
    exact = -stats.norm(p.mean().numpy(), p.stddev().numpy()).logpdf(new) - usual
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.sum(1), detector.score(new) - detector.score(X).mean(), rtol=1e-3, atol=1e-3)
    assert found.mean(0).argmax() == 4


def test_masks():
    """A hole has no part in a score, NaN or not; equal to the model's own terms with the mask."""
    mask = np.random.default_rng(1).random(X.shape) < 0.7
    holes = {"x": np.where(mask, X, np.nan), "mask": mask}
    detector = Detector(vae(), "reconstruction").calibrate(holes)
    found = detector.contributions(holes)
    assert not found[~mask].any()
    p = vae().decode(vae().encode(X, mask=mask).mean())
    each = np.where(mask, -stats.norm(p.mean().numpy(), p.stddev().numpy()).logpdf(X), 0.0)
    np.testing.assert_allclose(detector.score(holes), each.sum(1), rtol=1e-4)
    np.testing.assert_allclose(found, np.where(mask, each - each.sum(0) / mask.sum(0), 0.0), rtol=1e-3, atol=1e-3)
    zeros = {"x": np.where(mask, X, 0.0), "mask": mask}
    for score in ("log_likelihood", "elbo"):
        one = Detector(vae(), score, samples=5)
        np.testing.assert_array_equal(one.score(holes), one.score(zeros))
    with pytest.raises(ValueError, match=r"x\[0, 1\] is nan"):
        detector.score(holes["x"])


def test_contributions_of_what_the_calibration_never_had(tmp_path):
    """Nothing is known of the usual value of such an element."""
    mask = np.ones(X.shape, bool)
    mask[:, 3] = False
    detector = Detector(vae(), "reconstruction").calibrate({"x": X, "mask": mask})
    detector.save(tmp_path / "detector.keras")
    for one in (detector, Detector.load(tmp_path / "detector.keras")):
        np.testing.assert_array_equal(np.isnan(one.contributions(X)), ~mask)
        assert np.isfinite(one.contributions({"x": X, "mask": mask})).all()


@pytest.mark.slow
def test_conditions_and_codes():
    y = np.arange(40) % 3
    conditional = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,), condition=3))
    found = Detector(conditional, "reconstruction").score((X, y))
    p = conditional.decode(conditional.encode(X, y).mean(), y)
    np.testing.assert_allclose(found, -p.log_prob(X), rtol=1e-5)
    codes = make_vae(posterior=lambda: kvae.posteriors.FiniteScalar((5,)), prior=kvae.priors.Codes)
    np.testing.assert_allclose(Detector(codes).score(X), -codes.elbo(X).numpy(), rtol=1e-5)


@pytest.mark.slow
def test_autoencoders(tmp_path):
    points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
    for score in ("log_likelihood", "elbo", "typicality"):
        with pytest.raises(ValueError, match=f"score='{score}' needs a density"):
            Detector(points, score)
    detector = Detector(points, "reconstruction").calibrate(X)
    detector.export(tmp_path / "1", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["score"](x=tf.constant(X))
    assert sorted(served) == ["anomaly_score", "p_value", "valid"]
    np.testing.assert_array_equal(served["p_value"], detector.p_value(X))


@pytest.mark.parametrize(
    "score", slow_but(["reconstruction", "log_likelihood", "elbo", "typicality"], "reconstruction")
)
def test_saved_and_served(score, tmp_path):
    new = np.concatenate([rows(20, 13), rows(5, 14, strange=True)])
    detector = Detector(vae(), score, samples=12, seed=5).calibrate(X, rows(50, 11))
    detector.save(tmp_path / "detector.keras")
    again = Detector.load(tmp_path / "detector.keras")
    np.testing.assert_array_equal(again.score(new), detector.score(new))
    np.testing.assert_array_equal(again.p_value(new), detector.p_value(new))
    np.testing.assert_array_equal(again.contributions(new), detector.contributions(new))
    assert (again.kind, again.samples, again.seed) == (score, 12, 5)
    np.testing.assert_array_equal(kvae.load_model(tmp_path / "detector.keras").elbo(new), vae().elbo(new))
    again.export(tmp_path / "1", verbose=False)
    sent = np.concatenate([new, np.full((1, 6), np.nan, np.float32)])
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["score"](x=tf.constant(sent), seed=tf.range(26))
    assert served["valid"].numpy().tolist() == [True] * 25 + [False]
    np.testing.assert_allclose(served["anomaly_score"][:25], detector.score(new), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(served["p_value"][:25], detector.p_value(new))
    assert served["p_value"].dtype == tf.float64
    assert set(served) == {"elbo", "kl", "reconstruction", "score", "error", "valid", "anomaly_score", "p_value"}


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson"])
def test_masses(likelihood):
    model = make_vae(likelihood=lambda: likelihood)
    x = examples(model.likelihood, (6,), n=30)
    found = Detector(model, "reconstruction").score(x)
    np.testing.assert_allclose(found, -kvae.evaluate.score(model, x).reconstruction, rtol=1e-5)


def test_rows_far_away():
    detector = Detector(vae(), "reconstruction").calibrate(X)
    far = np.full((1, 6), 1e12, np.float32)
    assert np.isfinite(detector.score(far)) and detector.p_value(far) == 1 / 41
    likelihood = type(vae().likelihood)
    whole = likelihood.log_prob
    with mock.patch.object(likelihood, "log_prob", lambda *given: np.nan * whole(*given)):
        vae().renew()
        assert detector.score(far) == math.inf and detector.p_value(far) == 1 / 41
    vae().renew()


# ---- what is refused ----


def test_training_rows_are_refused():
    train = rows(200, 20)
    detector = Detector(vae(), "reconstruction")
    with pytest.raises(ValueError, match=r"Of the 40 calibration rows 40 are rows of the training data: .*held-out"):
        detector.calibrate(train[:40], train)
    with pytest.raises(ValueError, match="Of the 50 calibration rows 10 are"):
        detector.calibrate(np.concatenate([train[:10], X]), train)
    mask = np.random.default_rng(0).random(train.shape) < 0.5
    holes = {"x": np.where(mask, train, np.nan), "mask": mask}
    with pytest.raises(ValueError, match="calibration rows 30 are"):
        detector.calibrate({"x": np.where(mask, train, 7.0)[:30], "mask": mask[:30]}, holes)
    detector.calibrate(X, train)


def test_equal_rows_of_small_tables_are_not():
    """Six bits: almost every new row stands in the training data."""
    random = np.random.default_rng(0)
    model = make_vae(likelihood=kvae.likelihoods.Bernoulli)
    bits = (random.random((500, 6)) < 0.3).astype(np.float32)
    Detector(model, "reconstruction").calibrate(bits[:100], bits[100:])
    nearly = np.round(random.normal(size=(500, 6)), 1).astype(np.float32)
    nearly[::2] = np.round(nearly[::2])  # some are equal
    with pytest.raises(ValueError, match=r"are rows of the training data, and equal rows among them explain \d+:"):
        Detector(vae(), "reconstruction").calibrate(nearly[:100], nearly)


@pytest.mark.parametrize("kinds", [100, 1000])
@pytest.mark.parametrize("sizes", [(400, 100), (200, 200), (100, 400), (50, 1000)])
def test_honest_rows_are_seldom_refused(kinds, sizes):
    """Of a table with so many distinct rows, less than 1 in 100 times, however large the calibration is."""
    random = np.random.default_rng(1)
    drawn = random.integers(0, kinds, (200, sum(sizes), 1)).astype(np.float32)
    refused = 0
    for x in drawn:
        try:
            check_held_out(Split(x[sizes[0] :]), Split(x[: sizes[0]]))
        except ValueError:
            refused += 1
    assert refused <= 2


def test_what_fit_was_given_is_known():
    model = make_vae(likelihood=lambda: kvae.likelihoods.Normal("learned"), compiled=False)
    model.compile("adam", run_eagerly=True)
    x = rows(100, 21).astype(np.float64)
    data = kvae.data.from_arrays(rows(100, 22), validation=0.4)
    detector = Detector(model, "reconstruction")
    assert model.fitted_to is None
    model.fit(x, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="are rows of the training data"):
        detector.calibrate(x[:30].copy())
    model.fit((x,), epochs=1, verbose=0, validation_split=0.3)
    np.testing.assert_array_equal(model.fitted_to.x, x[:70].astype(np.float32))
    detector.calibrate(x[70:])
    model.fit(data.train, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="are rows of the training data"):
        detector.calibrate(data.train.first(20))
    detector.calibrate(data.validation)
    model.fit(rows(100, 21), epochs=1, verbose=0)  # no one keeps these
    assert model.fitted_to is None
    model.fit(tf.data.Dataset.from_tensor_slices(x.astype(np.float32)).batch(20), epochs=1, verbose=0)
    assert model.fitted_to is None
    with pytest.raises(ValueError, match="score='typicality' needs the training rows"):
        Detector(model, "typicality").calibrate(X)


@pytest.mark.slow
def test_what_fit_was_given_is_known_with_masks():
    x = rows(100, 21)
    mask = np.random.default_rng(0).random(x.shape) < 0.7
    x[~mask] = 0.0
    y = np.arange(100) % 3
    model = make_vae(likelihood=lambda: kvae.likelihoods.Normal("learned"), compiled=False)
    model.compile("adam", run_eagerly=True)
    model.fit({"x": x, "mask": mask}, y, epochs=1, verbose=0, validation_split=0.2)  # it does not use y
    np.testing.assert_array_equal(model.fitted_to.mask, mask[:80])
    assert model.fitted_to.y is None
    with pytest.raises(ValueError, match="Of the 30 calibration rows 30 are rows of the training data"):
        Detector(model).calibrate({"x": x[:30].copy(), "mask": mask[:30].copy()})
    typical, new = Detector(model, "typicality", samples=3), {"x": X, "mask": mask[:40]}
    found = typical.calibrate(new).calibration.center
    assert found == typical.calibrate(new, {"x": x[:80], "mask": mask[:80]}).calibration.center
    assert found != typical.calibrate(new, x[:80]).calibration.center
    model.fit({"x": x, "mask": mask.astype(np.float32)}, epochs=1, verbose=0)  # a mask that no one keeps
    assert model.fitted_to is None


@pytest.mark.slow
def test_what_fit_was_given_is_known_with_conditions():
    x, y = rows(100, 21), np.arange(100) % 3
    conditional = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,), condition=3))
    conditional.compile("adam", run_eagerly=True)
    for given in ((x, y), ({"x": x, "condition": y},)):
        conditional.fit(*given, epochs=1, verbose=0)
        np.testing.assert_array_equal(conditional.fitted_to.y, y)
    typical = Detector(conditional, "typicality", samples=3)
    found = typical.calibrate((X, y[:40])).calibration.center
    assert found == typical.calibrate((X, y[:40]), (x, y)).calibration.center
    conditional.fit(x, y.copy(), epochs=1, verbose=0)
    assert conditional.fitted_to is None


def test_a_model_that_changed_needs_a_new_calibration():
    model = make_vae(likelihood=lambda: kvae.likelihoods.Normal("learned"), compiled=False)
    model.compile("adam", run_eagerly=True)
    detector = Detector(model, "reconstruction")
    for call in (detector.p_value, detector.predict, detector.contributions, detector.drift):
        with pytest.raises(ValueError, match="not calibrated: call calibrate"):
            call(X)
    detector.calibrate(X).p_value(X)
    model.evaluate(X, verbose=0)
    detector.p_value(X)
    model.fit(rows(30, 23), epochs=1, verbose=0)
    with pytest.raises(ValueError, match=r"weights have changed since the calibration: call calibrate\(x\) again"):
        detector.p_value(X)
    detector.calibrate(X).p_value(X)


@pytest.mark.slow
def test_two_detectors_of_one_model():
    """Each has the noise of its own seed."""
    for seed in (3, 4):
        expected = scores_by_hand(vae(), X, 1, seed)["log_likelihood"]
        np.testing.assert_allclose(Detector(vae(), samples=1, seed=seed).score(X), expected, rtol=1e-4)
