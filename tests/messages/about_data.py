"""Messages about arrays, pipelines, splits, conditions and batches: place to (call, message[, type])."""

import numpy as np
import tensorflow as tf

import kvae
from kvae.data import arrays, splits
from tests.conformance import Batches
from tests.messages.given import BITS, X, batches, conditional, stand_in, vae

_ARRAY = "x must be an array of numbers, one row for each example, got .*NumPy arrays, tensors, data frames and lists"
_TEXT = r"Make categories labels \(pandas.factorize\(column\)\[0\]\) or one column each"

_NAMED = r"Make text or categories whole numbers first: labels, names = pandas.factorize\(condition\)"


def _wide(scale):
    return scale * X + 1.0


def _given(package, **attributes):
    return lambda: arrays.as_array(stand_in(package, **attributes))


_COLUMN = {"isna": lambda: np.zeros(2, bool), "dtype": np.dtype("S1")}
_NAMES = stand_in("polars", name="city", dtype=stand_in("polars", is_numeric=lambda: False))


def _fitted_to_columns(others):
    model = vae("normal_fixed")
    model.likelihood.columns = tuple("abcdef")
    try:
        model.encode(splits.Split(X, columns=tuple(others)))
    finally:
        model.likelihood.columns = None


def _in_a_graph(method):
    return lambda: tf.function(method, autograph=False)(tf.zeros([2, 4]))


ROWS = {
    "data.arrays.as_array": [
        (lambda: vae().encode("data"), _ARRAY.replace("got ", "got str 'data'")),
        (lambda: vae().encode(stand_in("mine", __array__=3)), _ARRAY),
        (lambda: vae().encode(object()), _ARRAY),
    ],
    "data.arrays._numbers": [
        (
            lambda: vae().encode(X + 1j),
            r"x must hold real numbers, but its dtype is complex.*two channels: numpy.stack",
        ),
        (lambda: vae().encode(X.astype(str)), f"its dtype is <U.*{_TEXT}"),
        (lambda: vae().encode(X.astype("M8[D]")), r"dtype is datetime64.*Give the time since a start: \(x - x.min"),
        (lambda: vae().encode(X.astype("m8[s]")), "dtype is timedelta64.*Divide by a unit: x / numpy.timedelta64"),
        (lambda: vae().encode(np.zeros(3, [("a", "f4")])), "Give its fields as columns: numpy.lib.recfunctions"),
        (lambda: vae().encode(np.zeros((3, 6), "V4")), r"dtype is \|V4. Convert it with x.astype\('float32'\)"),
    ],
    "data.arrays._of_objects": [
        (lambda: vae().encode(np.array([["a", 1]], object)), f"dtype is object and it holds 'a'. {_TEXT}"),
        (lambda: vae().encode(np.array([[None, 1]])), "it holds None. Where values are missing, give NaN there and ma"),
        (lambda: vae().encode(np.array([[[1], 1]], object)), r"it holds \[1\]. Give one array of shape \[N, ...\]"),
    ],
    "data.arrays._stacked": [
        (lambda: vae().encode([X[0], X[0, :3]]), r"examples have different shapes, such as \(3,\) and \(6,\).*tuple"),
    ],
    "data.arrays._pandas": [
        (_given("pandas", columns=[], dtypes=[]), "x has no columns. Give at least one of numbers")
    ],
    "data.arrays._pandas_column": [
        (
            _given("pandas", array=stand_in("pandas", **_COLUMN)),
            r"x must hold real.*dtype is \|S1. Make categories lab",
        ),
    ],
    "data.arrays._polars": [
        (_given("polars", collect=len), r"x is a LazyFrame, which holds no numbers yet. Give x.collect\(\)"),
        (
            _given("polars", get_columns=lambda: [_NAMES]),
            rf"x\['city'\] must hold real numbers, but its dtype.*{_TEXT}",
        ),
    ],
    "data.arrays._xarray": [
        (_given("xarray", data_vars={"u": 0, "p": 1}), r"x is an xarray.Dataset of \['p', 'u'\]. Give one of them, or"),
    ],
    "data.arrays._torch": [
        (_given("torch"), _ARRAY),
        (
            _given("torch", detach=lambda: stand_in("torch", cpu=lambda: stand_in("torch", layout="torch.sparse_coo"))),
            r"x is a sparse tensor. Give x.to_dense\(\), or a matrix of scipy.sparse",
        ),
    ],
    "data.arrays._scipy": [(_given("scipy"), _ARRAY)],
    "data.arrays._tensorflow": [
        (lambda: arrays.as_array(tf.sparse.eye(3)), r"x is a SparseTensor. Give tf.sparse.to_dense\(x\), or a matrix"),
        (lambda: arrays.as_array(tf.ragged.constant([[1], [2, 3]])), r"x is a RaggedTensor. Give x.to_tensor\(\)"),
        (lambda: arrays.as_array(stand_in("tensorflow")), _ARRAY),
    ],
    "data.batch.unpack": [
        (
            lambda: vae().encode(kvae.data.from_arrays(X)),
            "all parts of a data set: give one of them, such as data.test",
        ),
        (lambda: vae().fit({"y": X}), r"has the keys \['x', 'condition', 'mask', 'sample_weight'\], got \['y'\]"),
        (
            lambda: vae().encode(({"x": X, "condition": X}, X)),
            "condition was given twice, inside the dict of data and beside it. Leave one out",
        ),
    ],
    "data.checks.check_shape": [
        (lambda: vae().encode(X[:, :5]), r"has shape \(10, 5\), but this model's examples have shape \(6,\).*Reshape"),
        (lambda: vae().encode(X[0]), r"x has shape \(6,\).*A batch axis is missing in front: x\[None\] for a single"),
        (
            lambda: vae(network="conv_one_level").encode(np.zeros((2, 4, 4))),
            r"must have shape \(None, 4, 4, 1\). Add the channel axis: x\[..., None\]",
        ),
    ],
    "data.checks.check_values": [
        (lambda: vae().encode(X / 0), r"Normal explains x in the real numbers, but x\[0, 0\] is nan \(100.0% of.*mask"),
        (lambda: vae("bernoulli").encode(X), r"in \{0, 1\}, but x\[0, 1\] is 0.0.*'continuous_bernoulli' or.*binarize"),
        (
            lambda: vae("continuous_bernoulli").encode(255 * BITS),
            r"range from 0 to 255\). These are integers from 0 to 255. Pixels fit kvae.likelihoods.BetaBinomial\(",
        ),
        (
            lambda: vae("beta_binomial").encode(X),
            r"binarize them .*Integers are taken as they are: do not scale them\.",
        ),
        (
            lambda: vae("beta_binomial").encode(1000 * BITS),
            "These are counts: they fit likelihood='negative_binomial' or",
        ),
        (
            lambda: vae("continuous_bernoulli").encode(_wide(3)),
            r"scale them to \[0, 1\]. Positive numbers also fit kvae.likelihoods.LogNormal\(\)\.$",
        ),
        (
            lambda: vae("continuous_bernoulli").encode(X * [1, 1, 1, 90, -1, 1]),
            r"scale them to \[0, 1\]. Columns of unlike units fit kvae.likelihoods.Normal\(per='element'\), with vae",
        ),
        (
            lambda: vae("beta").encode(X),
            r"in \(0, 1\), but x\[0, 0\] is 0.0 .*density there is 0 or inf.*\(N - 1\).*'contin",
        ),
        (lambda: vae("beta").encode(_wide(3)), "in \\(0, 1\\), but .*These values fit kvae.likelihoods.Normal"),
        (lambda: vae("log_normal").encode(X), "the positive numbers, but x.0, 0. is 0.0 .*no logarithm of 0.*or mask"),
        (
            lambda: vae("log_normal").encode(-_wide(3)),
            r"are outside; they range .*kvae.likelihoods.Normal.*\[0, 1\]\.$",
        ),
        (lambda: vae("continuous_bernoulli").encode(_wide(3)), "These values fit kvae.likelihoods.Normal.*or scale"),
    ],
    "data.checks.check_columns": [
        (
            lambda: _fitted_to_columns("abcdeg"),
            r"fitted to the columns \['a', .*, but x lacks \['f'\]. Give those columns",
        ),
        (lambda: _fitted_to_columns("abcdefg"), r"but x has \['g'\] besides. Give those columns in that order"),
        (lambda: _fitted_to_columns("abcdfe"), r"x has them in another order. Give those .*x\[list\(vae.likelihood"),
    ],
    "data.checks.check_rows": [
        (lambda: vae().decode(X), r"z must have shape \[..., B, 3\], got \(10, 6\)"),
        (lambda: vae().decode(X[0, :3]), r"got \(3,\). Give a batch: z\[None\]"),
        (lambda: vae().decode(X[:, :3] / 0), "z must hold finite numbers up to 1e.13, but 10 of 10 rows .*Leave"),
    ],
    "data.conditions.checked": [
        (lambda: conditional().encode(X), r"needs a condition of shape \(None, 4\) beside x, or labels 0..3 of shape"),
        (lambda: conditional().encode(X, 3), f"one number, label or vector for each example, got 3. {_NAMED}"),
        (
            lambda: conditional().encode(X, [1, 2]),
            r"10 rows but the condition has 2: its shape is \(2,\). Give one for",
        ),
        (lambda: conditional().encode(X, X[:, 0] / 0), "The condition must be finite, but it holds NaN, inf.*Leave"),
        (
            lambda: conditional().encode(X, X),
            r"condition has shape \(10, 6\) and.*takes \(None, 4\); or give integer la",
        ),
        (
            lambda: conditional((3, 2)).encode(np.zeros((3, 6)), np.zeros((3, 2))),
            r"takes \(None, 3, 2\). Give one for each example: numpy.broadcast_to",
        ),
    ],
    "data.conditions._table": [
        (lambda: conditional().encode(X, list("abcdefghij")), f"The condition must hold real numbers.*<U1. {_TEXT}"),
        (lambda: conditional().encode(X, [[1], [1, 2]]), f"condition is a list whose examples have diff.* {_NAMED}"),
    ],
    "data.conditions._labels": [
        (lambda: conditional().encode(X, X[:, 0]), r"whole numbers 0..3 for this model, but one is 0.1.*\(None, 4\)"),
        (
            lambda: conditional().encode(X, np.arange(10)),
            "0..3 for this model, but they range from 0 to 9. Number them",
        ),
    ],
    "data.inputs.split_of": [
        (
            lambda: vae().fit({"x": X, "sample_weight": X[:, 0]}, sample_weight=X[:, 0]),
            "given twice.*beside.*Leave one",
        ),
        (lambda: vae().fit(), "There is no x: give an array, a split of kvae.data, or a tf.data.Dataset"),
    ],
    "data.inputs.divide": [
        (
            lambda: vae().fit(X, validation_split=0.999),
            "validation_split=0.999 of 10 examples leaves one part empty. Give another share, or validation_data",
        ),
    ],
    "data.inputs._refuse_weights": [
        (
            lambda: vae().encode((X, None, X[:, 0])),
            "every example weighs the same: leave sample_weight out of the data",
        ),
    ],
    "data.pipelines.CheckedPipeline._dataset": [
        (lambda: vae().fit(batches({"x": {"a": X}})), "x must be one tensor, but .* have x = {'a'.*Map them"),
        (lambda: vae().fit(batches(X.astype(str))), "x must hold real numbers.* has dtype string. Convert it"),
        (lambda: vae().fit(batches(X[:0])), "The dataset is empty. Give one of at least one batch"),
    ],
    "data.pipelines.CheckedPipeline._elements": [
        (
            lambda: vae().fit((x for x in ()), steps_per_epoch=1),
            "The data are empty. Give a generator that has not been",
        ),
    ],
    "data.pipelines.elements": [
        (lambda: vae().encode(batches(X).repeat()), r"The dataset never ends: give data.take\(n\)"),
        (
            lambda: vae().encode(Batches(X, 5, endless=True)),
            "never ends: its num_batches is None. Give one with a number of batches",
        ),
        (lambda: vae().encode(batches(X[:0])), "The data are empty. Give at least one batch; a generator gives its"),
    ],
    "data.splits.Split.__init__": [
        (lambda: splits.Split(np.float32(3.0)), r"x must be an array of shape \[N, \*event_shape\], got the scalar 3"),
        (lambda: splits.Split(X[:0]), r"The data are empty: an array of shape \(0, 6\). Give at least one example"),
        (lambda: splits.Split(X, y=[1, 2]), "x has 10 rows but y has 2. Give one for each row"),
    ],
    "data.splits.labels": [(lambda: splits.Split(X, y=3), "y must be one label or vector for each example, got 3")],
    "data.splits.weights": [
        (
            lambda: vae().fit(X, sample_weight=-X[:, 1]),
            r"finite numbers >= 0 of shape \[N\], one per .* values from -0",
        ),
        (
            lambda: vae().fit(X, sample_weight=0 * X[:, 1]),
            "sample_weight is 0 for every example.*Leave it out to weigh",
        ),
    ],
    "data.splits.observed": [
        (
            lambda: vae().encode(X, mask=X[:, :2]),
            r"mask has shape \(10, 2\), but it must have that of x, \(10, 6\): 1 wh",
        ),
        (lambda: vae().encode(X, mask=X), "1 where x was observed and 0 where.* range from 0.0 to 1.0. Uncertain valu"),
    ],
    "data.advice.advise": [
        (
            lambda: vae().fit(1e9 + X.astype(float), epochs=0),
            "x ranges from 1e.09 to .*float32 keeps.*Standardize it",
            UserWarning,
        ),
    ],
}
