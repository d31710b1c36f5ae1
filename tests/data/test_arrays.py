"""The door for arrays: the same numbers from every kind of container, and one sentence for what is ambiguous."""

import array
import importlib

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from kvae.data import arrays

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(7, 3)).astype(np.float32)
HOLES = np.where(X > 1.0, np.nan, X)
SEEN = X <= 1.0


def need(name):
    """An optional package, or a skip that names it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"needs {name}")


def values_of(x):
    return np.asarray(arrays.as_array(x).values)


NUMPY = {
    "float16": X.astype(np.float16),
    "float64": X.astype(np.float64),
    "longdouble": X.astype(np.longdouble),
    "fortran": np.asfortranarray(X),
    "big_endian": X.astype(">f4"),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "objects": X.astype(object),
    "bfloat16": tf.cast(X, tf.bfloat16).numpy(),
    "list": X.tolist(),
    "list_of_arrays": list(X),
    "memoryview": memoryview(X),
    "tensor": tf.constant(X),
    "variable": tf.Variable(X),
}


@pytest.mark.parametrize("name", NUMPY)
def test_containers(name):
    coarse = name in ("float16", "bfloat16")
    got = values_of(NUMPY[name])
    assert got.dtype.kind == "f" and got.dtype.isnative and got.dtype.itemsize in (4, 8)
    np.testing.assert_allclose(got, X, rtol=1e-2 if coarse else 1e-7, atol=1e-2 if coarse else 0)
    assert arrays.as_array(NUMPY[name]).mask is None


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_whole_numbers_stay(dtype):
    x = (X > 0).astype(dtype)
    assert values_of(x).dtype == x.dtype
    np.testing.assert_array_equal(values_of(x), x)


def test_buffers():
    np.testing.assert_array_equal(values_of(array.array("d", [1.0, 2.0])), [1.0, 2.0])


def test_masked_arrays_keep_their_masks():
    found = arrays.as_array(np.ma.masked_array(np.where(SEEN, X, 1e20), ~SEEN))
    np.testing.assert_array_equal(found.mask, SEEN)
    np.testing.assert_array_equal(found.values[SEEN], X[SEEN])
    assert arrays.as_array(np.ma.masked_array(X)).mask is None


def test_pandas():
    pandas = need("pandas")
    frame = pandas.DataFrame(HOLES, columns=["a", "b", "c"])
    for x in (frame, frame.convert_dtypes(), frame.astype("Float32"), frame.astype(object)):
        found = arrays.as_array(x)
        np.testing.assert_array_equal(found.mask, SEEN)
        np.testing.assert_allclose(found.values[SEEN], X[SEEN], rtol=1e-7)
        assert found.names == ("a", "b", "c")
    whole = pandas.DataFrame({"a": [1, 2], "b": pandas.array([3, None], "Int64"), "c": [True, False]})
    found = arrays.as_array(whole)
    np.testing.assert_array_equal(found.mask, [[True, True, True], [True, False, True]])
    np.testing.assert_array_equal(found.values[found.mask], [1, 3, 1, 2, 0])
    np.testing.assert_array_equal(values_of(frame["a"].fillna(0.0)), np.where(SEEN, X, 0.0)[:, 0])
    dense = pandas.DataFrame(np.eye(3, dtype=np.float32))
    thin = arrays.as_array(dense.astype(pandas.SparseDtype("float32", 0.0)))
    assert isinstance(thin.values, arrays.SparseRows)
    np.testing.assert_array_equal(thin.values[np.array([2, 0])], np.eye(3)[[2, 0]])


def test_pandas_says_what_holds_no_numbers():
    pandas = need("pandas")
    for column in (["x", "y"], pandas.Categorical(["u", "v"]), pandas.array(["a", None], "string")):
        with pytest.raises(ValueError, match=r"x\['city'\] must hold real numbers.*factorize.*get_dummies"):
            arrays.as_array(pandas.DataFrame({"a": [1.0, 2.0], "city": column}))
    with pytest.raises(ValueError, match=r"x\['day'\] must hold real numbers.*time since a start"):
        arrays.as_array(pandas.DataFrame({"day": pandas.to_datetime(["2026-01-01", "2026-01-02"])}))


def test_polars():
    polars = need("polars")
    frame = polars.DataFrame({n: [None if np.isnan(v) else float(v) for v in HOLES[:, i]] for i, n in enumerate("abc")})
    found = arrays.as_array(frame)
    np.testing.assert_array_equal(found.mask, SEEN)
    np.testing.assert_allclose(found.values[SEEN], X[SEEN], rtol=1e-7)
    assert found.names == ("a", "b", "c")
    whole = arrays.as_array(polars.DataFrame({"a": [1, None], "b": [True, False]}))
    np.testing.assert_array_equal(whole.values[whole.mask], [1, 1, 0])
    np.testing.assert_array_equal(values_of(polars.Series([1.0, 2.0])), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"x\['city'\] must hold real numbers.*String"):
        arrays.as_array(polars.DataFrame({"city": ["a"]}))
    with pytest.raises(ValueError, match=r"LazyFrame.*collect\(\)"):
        arrays.as_array(frame.lazy())


def test_xarray():
    xarray = need("xarray")
    image = xarray.DataArray(X, dims=("row", "column"))
    np.testing.assert_array_equal(values_of(image), X)
    with pytest.raises(ValueError, match=r"xarray.Dataset of \['p', 'u'\].*to_array"):
        arrays.as_array(xarray.Dataset({"u": image, "p": image}))


@pytest.mark.slow  # where optional packages are installed
def test_torch():
    torch = need("torch")
    tensor = torch.tensor(X, requires_grad=True)
    np.testing.assert_array_equal(values_of(tensor), X)
    np.testing.assert_allclose(values_of(tensor.to(torch.bfloat16)), X, atol=2e-2)
    with pytest.raises(ValueError, match=r"sparse tensor.*to_dense"):
        arrays.as_array(torch.tensor(X).to_sparse())


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix, sparse.lil_matrix])
def test_sparse_matrices_stay_sparse(make):
    x = np.where(X > 0, X, 0)
    found = arrays.as_array(make(x)).values
    assert isinstance(found, arrays.SparseRows) and found.shape == X.shape and len(found) == 7
    np.testing.assert_array_equal(found[2:5], x[2:5])
    np.testing.assert_array_equal(found[np.array([6, 0])], x[[6, 0]])
    np.testing.assert_array_equal(found.part(slice(1, 3))[:], x[1:3])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X + 1j, r"dtype is complex\d+.*numpy.stack\(\[x.real, x.imag\]"),
        (np.array(["a", "b"]), "dtype is <U1.*factorize"),
        (np.array([b"a"]), r"dtype is \|S1.*factorize"),
        (np.array(["2026-01-01"], "M8[D]"), "dtype is datetime64.*time since a start"),
        (np.array([1], "m8[s]"), "dtype is timedelta64.*Divide by a unit"),
        (np.zeros(2, [("a", "f4"), ("b", "f4")]), "structured_to_unstructured"),
        (np.array([1.0, None]), "holds None.*mask="),
        (np.array([1.0, "2"], object), "holds '2'.*factorize"),
        ([[1.0, 2.0], [3.0]], "list whose examples have different shapes.*tuple"),
        ([np.zeros(2), np.zeros(3)], r"different shapes, such as \(2,\) and \(3,\)"),
        ("photos.npz", "must be an array of numbers.*got str 'photos.npz'"),
        (None, "must be an array of numbers.*got NoneType"),
        ({"a": 1}, "must be an array of numbers.*got dict"),
        (np.sum, "must be an array of numbers"),
        (tf.sparse.from_dense(X), r"SparseTensor.*tf.sparse.to_dense"),
        (tf.ragged.constant([[1.0], [2.0, 3.0]]), r"RaggedTensor.*to_tensor\(\)"),
        (sparse.csr_matrix(X + 1j), "dtype is complex"),
    ],
)
def test_refused(x, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        arrays.as_array(x)
