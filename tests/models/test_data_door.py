"""What `fit` takes, every method takes, with the same numbers and the same words; in graphs, bad rows are NaN alone."""

import keras
import numpy as np
import pandas
import polars
import pytest
import tensorflow as tf
import xarray
from scipy import sparse, stats

import kvae
from kvae.data import Split
from tests.conformance import Batches, slow_but

X = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
LABELS = np.arange(60) % 3
NAMES = list("abcdef")


def make(shape=(6,), condition=None, **parts):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp(shape, 2, hidden=(8,), condition=condition), **parts)
    vae.compile(jit_compile=False)
    return vae


@pytest.fixture(scope="module")
def vae():
    return make()


@pytest.fixture(scope="module")
def labelled():
    return make(condition=3)


def rows():
    return (X[i : i + 20] for i in (0, 20, 40))


FORMS = {
    "float64": lambda: X.astype(np.float64),
    "list": lambda: X.tolist(),
    "frame": lambda: pandas.DataFrame(X),
    "nullable": lambda: pandas.DataFrame(X).convert_dtypes(),
    "polars": lambda: polars.DataFrame(X),
    "xarray": lambda: xarray.DataArray(X),
    "masked": lambda: np.ma.masked_array(X),
    "sparse": lambda: sparse.csr_matrix(X),
    "tensor": lambda: tf.constant(X),
    "split": lambda: Split(X, batch_size=32),
    "tuple": lambda: (X,),
    "dict": lambda: {"x": X},
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(X).batch(20),
    "pydataset": lambda: Batches(X, 20),
    "generator": rows,
}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras says so of a generator that ends
@pytest.mark.parametrize("form", slow_but(FORMS, "list", "nullable", "sparse", "split", "generator"))
def test_every_method_takes_what_fit_takes(vae, form):
    data = FORMS[form]
    for method in (vae.elbo, vae.reconstruct, lambda x: vae.encode(x).mean(), lambda x: vae.impute(x, samples=3)):
        np.testing.assert_allclose(method(data()), method(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(vae.predict(data(), verbose=0), vae.reconstruct(X), rtol=1e-5, atol=1e-5)
    if form not in ("pydataset", "generator"):
        np.testing.assert_allclose(vae.predict_on_batch(data()) if form != "dataset" else vae(X), vae(X), atol=1e-5)
    got, expected = vae.evaluate(data(), verbose=0), vae.evaluate(X, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    for estimator in (kvae.evaluate.log_likelihood, kvae.evaluate.independent_pixels):
        arguments = {"samples": 5, "verbose": False} if estimator is kvae.evaluate.log_likelihood else {"test": X}
        np.testing.assert_allclose(estimator(vae, data(), **arguments).mean, estimator(vae, X, **arguments).mean)
    before = vae.get_weights()
    assert np.isfinite(vae.fit(data(), verbose=0).history["loss"]).all()
    vae.set_weights(before)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_missing_values_of_containers_are_masked():
    """log p of a standard normal decoder's observed part, by SciPy; the fill values never count."""
    vae = make(likelihood=kvae.likelihoods.Normal(0.7))
    seen = X < 0.8
    expected = vae.elbo(np.where(seen, X, 0.0), mask=seen).numpy()
    frame = pandas.DataFrame(np.where(seen, X, np.nan))
    masked = np.ma.masked_array(np.where(seen, X, 1e20), ~seen)
    for data in (masked, frame, frame.convert_dtypes(), polars.from_pandas(frame)):
        np.testing.assert_array_equal(vae.elbo(data), expected)
        np.testing.assert_allclose(vae.evaluate(data, verbose=0)[1], vae.evaluate({"x": X, "mask": seen}, verbose=0)[1])
        np.testing.assert_array_equal(vae.impute(data, samples=5), vae.impute(X, seen, samples=5))
    terms = vae.terms(frame, samples=2)
    p = vae.decode(terms.z).distribution
    each = stats.norm(p.loc.numpy(), 0.7).logpdf(X)
    np.testing.assert_allclose(terms.log_px_z, np.where(seen, each, 0.0).sum(-1), rtol=1e-4)
    history = make().fit((np.ma.masked_greater(X[i : i + 20], 0.8) for i in (0, 20, 40)), verbose=0).history
    again = make().fit(tf.data.Dataset.from_tensor_slices({"x": X, "mask": seen}).batch(20), verbose=0).history
    np.testing.assert_allclose(history["loss"], again["loss"], rtol=1e-5)


WRONG = {
    "bytes": ("bernoulli", np.full((3, 6), 255.0), "divided by 255"),
    "grey": ("bernoulli", np.full((3, 6), 0.5), "continuous_bernoulli"),
    "nan": ("normal", np.full((3, 6), np.nan), "Give a mask"),
    "above_one": ("continuous_bernoulli", np.full((3, 6), 1.02), "scale them"),
    "complex": ("normal", np.ones((3, 6)) + 1j, "real and the imaginary part"),
    "text": ("normal", np.full((3, 6), "a"), "factorize"),
    "shape": ("normal", np.ones((3, 5)), "must have shape"),
}
METHODS = ["fit", "evaluate", "predict", "encode", "reconstruct", "elbo", "terms", "__call__", "train_on_batch",
           "test_on_batch", "predict_on_batch"]  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_every_method_says_what_fit_says(case):
    likelihood, x, words = WRONG[case]
    vae = make(likelihood=likelihood)
    said = set()
    for method in METHODS:
        with pytest.raises(ValueError, match=words) as caught:
            getattr(vae, method)(x)
        said.add(str(caught.value).replace("255.0", "255"))
    with pytest.raises(ValueError, match=words):
        kvae.evaluate.log_likelihood(vae, x, samples=2)
    assert len(said) == 1 or case == "shape"


def outside(result):
    """The rows with a NaN in them."""
    return np.flatnonzero(np.isnan(np.asarray(result)).reshape(len(result), -1).any(axis=1)).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "continuous_bernoulli"])
def test_in_graphs_the_bad_row_is_nan_alone(likelihood):
    vae = make(likelihood=likelihood)
    x = X if likelihood == "normal" else (X > 0).astype(np.float32)
    bad = x.copy()
    bad[3, 2], bad[5, 0] = np.nan, np.nan if likelihood == "normal" else 1.5

    def everything(x):
        q = vae.encode(x)
        terms = vae.terms(x)
        scores = (terms.log_px_z[0], terms.log_pz[0], terms.log_qz_x[0], terms.kl, terms.kl_per_dim, terms.z[0])
        return (q.mean(), q.stddev(), vae.reconstruct(x), vae.elbo(x), vae(x), vae.decode(q.mean()).mean(), *scores)

    graph = tf.function(everything, input_signature=[tf.TensorSpec([None, 6])])
    for result, good in zip(graph(bad), everything(x), strict=True):
        assert outside(result) == [3, 5]
        others = np.delete(np.arange(60), [3, 5])
        np.testing.assert_allclose(np.asarray(result)[others], np.asarray(good)[others], rtol=1e-4, atol=1e-5)
    pipeline = tf.data.Dataset.from_tensor_slices(bad).batch(7).map(lambda x: vae.encode(x).mean())
    assert outside(np.concatenate(list(pipeline.as_numpy_iterator()))) == [3, 5]
    model = keras.Model(inputs := keras.Input((6,)), vae(inputs))
    assert outside(model.predict(bad, verbose=0)) == [3, 5]


def test_in_graphs_a_condition_that_there_is_none_of(labelled):
    late = np.where(np.arange(60) < 58, LABELS, 7)
    graph = tf.function(lambda x, c: (labelled.elbo(x, condition=c), labelled(x, c), labelled.encode(x, c).mean()))
    for result in graph(tf.constant(X), tf.constant(late)):
        assert outside(result) == [58, 59]


def test_conditions_in_every_form(labelled):
    expected = labelled.encode(X, LABELS).mean()
    for labels in (LABELS.astype(float), LABELS[:, None], np.eye(3)[LABELS], pandas.Series(LABELS), LABELS.tolist()):
        np.testing.assert_array_equal(labelled.encode(X, labels).mean(), expected)
        np.testing.assert_array_equal(labelled.encode((X, labels)).mean(), expected)
        assert np.isfinite(labelled.fit(X, labels, verbose=0).history["loss"]).all()
        expected = labelled.encode(X, LABELS).mean()
    dose = make(condition=(1,))
    c = np.linspace(0, 1, 60)
    np.testing.assert_array_equal(dose.encode(X, c).mean(), dose.encode(X, c[:, None]).mean())
    dose.fit(X, c, verbose=0)
    np.testing.assert_array_equal(
        dose.sample(4, seed=1, condition=0.3), dose.sample(4, seed=1, condition=np.full((4, 1), 0.3))
    )
    one = labelled.sample(4, seed=1, condition=2)
    np.testing.assert_array_equal(labelled.sample(4, seed=1, condition=np.eye(3)[2]), one)
    np.testing.assert_array_equal(labelled.sample(4, seed=1, condition=[2] * 4), one)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS + 1, "Labels must be 0..2 for this model, but they range from 1 to 3"),
        (LABELS - 1, "they range from -1 to 1"),
        (LABELS + 0.5, "whole numbers 0..2 for this model, but one is 0.5"),
        (LABELS.astype(str), "factorize"),
        (pandas.Categorical(LABELS.astype(str)), "factorize"),
        (np.ma.masked_equal(LABELS, 1), "one number, label or vector for each example|must be finite"),
        (np.full((60, 3), np.nan), "finite"),
        (np.ones((60, 2)), r"shape \(60, 2\).*takes \(None, 3\); or give integer labels"),
        (LABELS[:5], "x has 60 rows but (the condition|y) has 5"),
    ],
)
def test_wrong_conditions(labelled, labels, words):
    for method in (labelled.fit, labelled.train_on_batch, labelled.encode, labelled.__call__, labelled.elbo):
        arguments = {"condition": labels} if method in (labelled.elbo, labelled.encode) else {}
        with pytest.raises(ValueError, match=words):
            method(X, **arguments) if arguments else method(X, labels)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_wrong_labels_in_late_batches(labelled, method):
    late = np.where(np.arange(60) < 58, LABELS, 7)
    pipelines = (
        tf.data.Dataset.from_tensor_slices((X, late)).batch(2),
        ((X[i : i + 2], late[i : i + 2]) for i in range(0, 60, 2)),
    )
    words = r"Labels must be 0..2|a condition that this model does not take.*labels 0..2"
    for data in pipelines:
        with pytest.raises(ValueError, match=words):
            getattr(labelled, method)(data, verbose=0)


def test_columns_are_named_and_in_order():
    frame, vae = pandas.DataFrame(X, columns=NAMES), make()
    vae.fit(frame, verbose=0)
    path = f"{tf.compat.v1.test.get_temp_dir()}/named.keras"
    vae.save(path)
    for model in (vae, kvae.load_model(path)):
        assert model.likelihood.columns == tuple(NAMES)
        np.testing.assert_array_equal(model.elbo(frame), model.elbo(X))
        other = frame[list("bacdef")]
        calls = (
            model.encode,
            lambda x, m=model: m.evaluate(x, verbose=0),
            lambda x, m=model: m.predict(x, verbose=0),
            lambda x, m=model: kvae.evaluate.log_likelihood(m, x, samples=2),
        )
        for call in calls:
            with pytest.raises(ValueError, match=r"x has them in another order.*in that order"):
                call(other)
        with pytest.raises(ValueError, match=r"x lacks \['f'\]"):
            model.encode(frame.rename(columns={"f": "g"}))


def test_samples_without_a_seed(vae):
    keras.utils.set_random_seed(3)
    one, two = vae.sample(5), vae.sample(5)
    assert np.abs(one - two).max() > 1e-3
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(vae.sample(5), one)
    graph = tf.function(lambda: vae.sample(5))
    assert np.abs(graph() - graph()).max() > 1e-3


def test_codes(vae):
    for z, words in ((np.full((2, 2), np.nan), "finite"), (np.zeros(2), r"z\[None\]"),
                     (np.zeros((2, 2), complex), "real numbers"), (np.zeros((2, 3)), "must have shape")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            vae.decode(z)
    np.testing.assert_array_equal(vae.decode([[0.0, 1.0]]).mean(), vae.decode(np.array([[0, 1]])).mean())
