"""Arrays in several files, against the array itself."""

import itertools
import mmap
import os
import pathlib

import numpy as np
import pytest

import kvae
from kvae.data.shards import Shards, on_disk, pages_of

X = np.arange(23 * 2 * 3, dtype=np.int16).reshape(23, 2, 3)


@pytest.fixture
def shards(tmp_path) -> Shards:
    kvae.data.write_shards(tmp_path, X, 5)
    return kvae.data.folder(tmp_path)["x_train"]


@pytest.mark.parametrize(
    "rows",
    [
        slice(None), slice(3, 4), slice(4, 17), slice(5, 10), slice(-3, None), slice(9, 2), slice(20, 2, -3),
        slice(1, 20, 4), np.array([22, 0, 4, 5, 4]), [-1, -23], np.arange(23) % 3 == 0, np.zeros(0, int),
        np.random.default_rng(0).permutation(23).astype(np.int32), 7, -2,
    ],
    ids=str,
)  # fmt: skip
def test_rows(shards, rows):
    found = shards[rows]
    np.testing.assert_array_equal(found, X[rows])
    assert found.dtype == X.dtype
    if not isinstance(rows, int):
        part = shards.part(rows)
        np.testing.assert_array_equal(np.asarray(part), X[rows])
        assert len(part) == len(X[rows]) and on_disk(part) == (isinstance(rows, slice) and rows.step is None)


def test_it_is_like_an_array(shards):
    assert (shards.shape, shards.ndim, shards.dtype, len(shards), shards.nbytes) == (X.shape, 3, X.dtype, 23, X.nbytes)
    assert [len(part) for part in shards.parts] == [5, 5, 5, 5, 3]
    assert all(isinstance(part, np.memmap) for part in shards.part(slice(4, 17)).parts)
    np.testing.assert_array_equal(np.asarray(shards, np.float64), X.astype(np.float64))
    assert not on_disk(np.asarray(shards)) and not on_disk(shards[:4])


@pytest.mark.parametrize("sizes", [(23,), (1, 2, 20), (7, 7, 7, 2), (5, 5, 5, 5, 3), (0, 23)])
def test_the_files_do_not_depend_on_how_the_rows_come(tmp_path, sizes):
    ends = np.cumsum((0, *sizes))
    pieces = (X[first:last] for first, last in itertools.pairwise(ends))
    files = kvae.data.write_shards(tmp_path / "new", pieces, 5, "x_test")
    assert [file.name for file in files] == [f"x_test-{i:05d}-of-00005.npy" for i in range(5)]
    assert sorted(os.listdir(tmp_path / "new")) == [file.name for file in files]
    for number, file in enumerate(files):
        np.testing.assert_array_equal(np.load(file), X[5 * number : 5 * number + 5])


def test_a_failed_write_leaves_nothing(tmp_path):
    def rows():
        yield X
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        kvae.data.write_shards(tmp_path, rows(), 5)
    assert os.listdir(tmp_path) == []


def test_a_data_set_in_several_files_is_that_in_one(tmp_path):
    """Every part of what `load` makes of it, and a split's methods."""
    images = np.random.default_rng(0).integers(0, 256, (23, 4, 4)).astype(np.uint8)
    labels = np.arange(23)
    one, several = tmp_path / "one", tmp_path / "several"
    one.mkdir()
    for name, array in (("x_train", images), ("y_train", labels), ("x_test", images[::2])):
        np.save(one / f"{name}.npy", array)
        kvae.data.write_shards(several, array, 5, name)
    for options in ({}, {"binarize": "dynamic"}, {"binarize": "static"}, {"dequantize": True}, {"validation": 0}):
        pair = [kvae.data.load(folder, batch_size=4, **options) for folder in (one, several)]
        assert str(pair[0]).replace("one", "several") == str(pair[1])
        for a, b in zip(pair[0][:3], pair[1][:3], strict=True):
            assert (a is None) == (b is None)
            if a is None:
                continue
            assert a.on_disk == b.on_disk
            np.testing.assert_array_equal(a.x, b.x)
            np.testing.assert_array_equal(a.first(7).x, b.first(7).x)
            np.testing.assert_array_equal(a.part([1, 0]).x, b.part([1, 0]).x)
            for c, d in zip(a.dataset(epoch=1), b.dataset(epoch=1), strict=True):
                c, d = (one if isinstance(one, tuple) else (one,) for one in (c, d))
                for e, f in zip(c, d, strict=True):
                    np.testing.assert_array_equal(e, f)
    vae = kvae.VAE(*kvae.networks.mlp((4, 4, 1), 2, hidden=(5,)), likelihood="continuous_bernoulli")
    pair = [kvae.data.load(folder, validation=0) for folder in (one, several)]
    estimates = [kvae.evaluate.log_likelihood(vae, data.test, samples=5) for data in pair]
    assert estimates[0] == estimates[1]
    np.testing.assert_array_equal(*(vae.encode(data.test).mean() for data in pair))
    np.testing.assert_array_equal(*(vae.predict(data.test, verbose=0) for data in pair))


def test_the_pages_of_rows_hold_them(tmp_path):
    """In the file, of an array and of a slice of it that begins behind its first page."""
    x = np.random.default_rng(0).integers(0, 256, (90, 11, 13)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    content = (tmp_path / "x.npy").read_bytes()
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    for part, of in ((stored, x), (stored[40:], x[40:])):
        rows = np.array([0, 3, 28, 29, 47])
        for row, first, size in zip(rows, *pages_of(part, rows), strict=True):
            assert first % mmap.PAGESIZE == 0 and size < mmap.PAGESIZE + 143
            assert content[first : first + size].endswith(of[row].tobytes())
        np.testing.assert_array_equal(Shards([part])[rows[::-1]], of[rows[::-1]])


@pytest.mark.parametrize("dtype", [">f4", np.longdouble, np.float16, bool, np.int64])
def test_dtypes(tmp_path, dtype):
    """What TensorFlow does not hold is copied in another; the numbers are the same."""
    x = (X[:, 0] % 2).astype(dtype)
    kvae.data.write_shards(tmp_path / "a", iter([x]), 5)
    (tmp_path / "b").mkdir()
    for number in range(2):  # as another program may write them
        np.save(tmp_path / "b" / f"x_train-{number:05d}-of-00002.npy", x[12 * number : 12 * number + 12])
    for folder in "ab":
        split = kvae.data.Split(kvae.data.folder(tmp_path / folder)["x_train"])
        np.testing.assert_array_equal(split.x, x.astype(np.float32))
        assert split.array.dtype.isnative and split.array.dtype.name != np.dtype(np.longdouble).name


def test_the_rest_of_a_folder_is_not_read(tmp_path):
    kvae.data.write_shards(tmp_path, X, 50)
    pathlib.Path(tmp_path, "x_train-a-of-b.npy").touch()
    pathlib.Path(tmp_path, "x_train-1-of-2.npy.partial").touch()
    assert kvae.data.folder(tmp_path)["x_train"].shape == X.shape
