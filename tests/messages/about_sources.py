"""Messages about data sets in files and packages: place to (call, message[, type])."""

import errno
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import kvae
from kvae.data import sources
from tests.messages.given import X, image, path, stand_in

BYTES = np.arange(60, dtype=np.uint8).reshape(10, 6)
arrays = kvae.data.from_arrays


def _two_sizes():
    image("sizes/a.png"), image("sizes/b.png", (4, 5, 3))
    return kvae.data.load(path("sizes/a.png").parent)


def _beside():
    image("beside/a.png"), image("beside/cats/b.png")
    return kvae.data.load(path("beside/a.png").parent)


def _shards_on_a_full_disk():
    """The disk is full in the second file."""
    with mock.patch("numpy.save", side_effect=[None, OSError(errno.ENOSPC, "No space left on device")]):
        kvae.data.write_shards(path("wide"), X, 3)


def _unreadable(**how):
    return lambda: kvae.data.load(path("torn/a.png", b"no image").parent, **how)


def _sent(builder, **options):
    with mock.patch.object(tfds, "builder", **{"return_value": builder, **options}):
        return kvae.data.load("mnist")


def _builder(features=("image",), examples=None, **options):
    def as_dataset(split):
        return tf.data.Dataset.from_generator(lambda: iter(examples), output_types={"image": tf.uint8})

    info = stand_in("mine", features=dict.fromkeys(features, 0), splits=["train", "test"])
    given = as_dataset if examples else mock.Mock(side_effect=AssertionError("not prepared"))
    return stand_in("mine", info=info, data_dir="there", as_dataset=given)


def _files(folder, **arrays):
    """A folder with these files read."""
    for name, array in arrays.items():
        np.save(path(f"{folder}/{name.replace('_of_', '-of-').replace('train_', 'train-')}.npy"), array)
    return lambda: kvae.data.folder(path(folder))


IDX = b"\0\0\x08\x01\0\0\0\x09abc"


def _torn_npy():
    np.save(path("torn_npy/x_train.npy"), X)
    content = path("torn_npy/x_train.npy").read_bytes()
    kvae.data.load(path("torn_npy/x_train.npy", content + b"x").parent)


def _no_npy():
    kvae.data.load(path("no_npy/x_train.npy", b"").parent)


def _damaged_npz():
    np.savez(path("damaged.npz"), x_train=X)
    content = bytearray(path("damaged.npz").read_bytes())
    content[300] ^= 1
    kvae.data.load(path("damaged.npz", bytes(content)))


ROWS = {
    "data.images.Form.__init__": [
        (lambda: kvae.data.load("x/", size=(3,)), r"size must be \(height, width\), such as \(64, 64\), got \(3,\)"),
    ],
    "data.images.Form.refuse_arrays": [
        (
            lambda: kvae.data.load("digits", channels=1),
            "are for folders of images, but digits holds arrays. Leave them",
        ),
    ],
    "data.images.read": [
        (_two_sizes, r"one size, but .*a.png has shape \(4, 4, 1\) and .*size=\(height.* and channels=1 \(grey\) or 3"),
        (
            _unreadable(unreadable="skip"),
            "None of the 1 images in .*torn can be read, .*a.png is one. Convert or repair",
        ),
    ],
    "data.images._files": [
        (
            lambda: kvae.data.load(path("nothing/a.txt", b"").parent),
            "nothing that kvae reads: x_train.npy, IDX.*images",
        ),
    ],
    "data.images._classes": [(_beside, "beside subfolders: .*a.png has no class, and .*b.png has. Put all into")],
    "data.images._decoded": [(_unreadable(), "a.png cannot be read as an image: .*Convert, repair.*unreadable='skip'")],
    "data.loading.load": [
        (lambda: kvae.data.load(3), "name must be a path or the name of a data set, got 3. kvae reads 'digits', files"),
        (
            lambda: kvae.data.load(path("a.txt", b"")),
            "a.txt is a file that kvae does not read. kvae reads 'digits', fi",
        ),
        (
            lambda: kvae.data.load("./none"),
            "no file or folder none. kvae reads.*Read others yourself",
            FileNotFoundError,
        ),
    ],
    "data.loading.from_arrays": [
        (
            lambda: arrays(X, binarize="static", dequantize=True),
            "exclude each other: binary data have no grey levels. L",
        ),
        (lambda: arrays(None), r"x_train must be an array of numbers \[N, \*event_shape\], got None"),
        (
            lambda: arrays(BYTES, levels=16),
            "x_train holds pixels up to 59, but levels=16 is the highest.*Give the leve",
        ),
        (lambda: arrays(X, validation=0.01), "validation=0.01 of 10 examples leaves a split empty. Give a larger part"),
        (
            lambda: arrays(X, X[:, :2]),
            r"x_test have shape \(2,\), but those of x_train have \(6,\). Give all parts one",
        ),
    ],
    "data.loading._examples": [
        (lambda: arrays(X, y_test=[1]), "y_test is given without x_test. Give both or neither"),
        (lambda: arrays(np.float32(3)), r"x_train must be a dense array of numbers \[N, \*event_shape\], got .*3.0"),
        (lambda: arrays(X, y_train=[1]), "x_train has 10 rows but y_train has 1. Give one for each row"),
    ],
    "data.loading._dequantized": [
        (lambda: arrays(X, dequantize=True), r"needs pixels stored as uint8, got float32. Give .*astype\('uint8'\)"),
    ],
    "data.loading._refuse_outside": [
        (
            lambda: arrays(3 * X, binarize="static"),
            r"takes values in \[0, 1\] .*from 0 to 3. Scale it first, or store 0",
        ),
    ],
    "data.sources.digits": [
        (
            lambda: mock.patch.dict("sys.modules", {"sklearn.datasets": None})(sources.digits)(),
            r'The digits come with scikit-learn: pip install "kvae-keras\[examples\]"',
            ImportError,
        ),
    ],
    "data.sources.npz": [
        (lambda: kvae.data.load("none.npz"), "There is no file none.npz. Check the path", FileNotFoundError),
        (
            lambda: kvae.data.load(path("torn.npz", b"PK")),
            r"not a readable .npz file of numbers \(.*Write it with numpy.",
        ),
        (_damaged_npz, r"damaged.npz is not a readable .npz file of numbers \(its part x_train.npy does not read back"),
        (
            lambda: (np.savez(path("other.npz"), x=X), kvae.data.load(path("other.npz"))),
            r"other.npz needs an array x_train, it holds \['x'\]. Write it with numpy.savez\(path, x_train=...\)",
        ),
    ],
    "data.shards.mapped": [
        (
            _torn_npy,
            r"x_train.npy is not a readable .npy file .*it has 369 bytes, and promises 368\). Write it with",
        ),
        (_no_npy, r"x_train.npy is not a readable .npy file of numbers \(.*\). Write it with numpy.save\(path, x\)"),
    ],
    "data.shards.read_shards": [
        (
            _files("two_counts", x_train_0_of_1=X, x_train_0_of_2=X, x_train_1_of_2=X),
            "two_counts holds x_train twice: in 1 files, such as x_train-0-of-1.npy, and in 2 files. Leave one of them",
        ),
        (
            _files("both", x_train_0_of_1=X, x_train=X),
            "holds x_train twice: in 1 files, such as x_train-0-of-1.npy, and in one file x_train.npy. Leave one of th",
        ),
        (
            _files("lacks", x_train_2_of_7=X),
            "lacks 6 of the 7 files of x_train: x_train-00000-of-00007.npy, .*00003-of-00007.npy and others. Copy or w",
        ),
        (
            _files("shapes", x_train_0_of_2=X, x_train_1_of_2=X[:, 1:]),
            r"of one shape, but those of x_train-0-of-2.npy have shape \(6,\) and those of x_train-1-of-2.npy \(5,\)",
        ),
        (
            _files("dtypes", x_train_0_of_2=X, x_train_1_of_2=X > 0),
            "of one dtype, but those of x_train-0-of-2.npy have dtype float32 and those of x_train-1-of-2.npy bool. Wr",
        ),
    ],
    "data.shard_writing.write_shards": [
        (
            lambda: (path("full/x_train.npy", b""), kvae.data.write_shards(path("full"), X, 3)),
            "full already holds x_train.npy. Delete the files of x_train, or give another folder",
            FileExistsError,
        ),
        (lambda: kvae.data.write_shards(path("none_yet"), iter([]), 3), "x is empty. Give at least one example"),
    ],
    "data.shard_writing._save": [
        (
            _shards_on_a_full_disk,
            r"wide/x_train-00001-of-\*.npy could not be written: No space left on device. Nothing is left of it. Make",
            OSError,
        ),
    ],
    "data.shard_writing._arrays": [
        (
            lambda: kvae.data.write_shards(path("none_yet"), np.ma.masked_less(X, 0.5), 3),
            "Files hold dense arrays .* but x is sparse, lacks values or is a single number. Fill in what is missing",
        ),
        (
            lambda: kvae.data.write_shards(path("none_yet"), iter([X, X[:, 1:]]), 3),
            r"one shape and dtype: .*shape \(6,\), float32, and a later one of shape \(5,\), float32. Bring them",
        ),
    ],
    "data.sources.folder": [
        (lambda: kvae.data.sources.folder("none"), "There is no folder none. Check the path", FileNotFoundError),
    ],
    "data.sources.read_idx": [
        (
            lambda: sources.read_idx(path("a.gz", b"PK")),
            "a.gz is truncated or damaged: it cannot be unpacked .*Take a",
        ),
        (lambda: sources.read_idx(path("a.idx", b"PK")), "a.idx is not an IDX file: it begins with b'PK'.*Take a copy"),
        (
            lambda: sources.read_idx(path("b.idx", IDX)),
            "truncated or damaged: it has 11 bytes and promises 17. Take a c",
        ),
    ],
    "data.sources.tensorflow_datasets": [
        (lambda: kvae.data.load("mnits"), "There is no data set 'mnits'. kvae reads 'digits', files ending in"),
        (lambda: kvae.data.load("a b"), "There is no file, folder or data set 'a b'. kvae reads 'digits'"),
        (lambda: _sent(None, side_effect=ImportError("no X\nnow")), "tensorflow-datasets cannot make 'mnist': no X$"),
        (
            lambda: _sent(_builder(["text"])),
            r"no 'image' and no 'features', but \['text'\]. Load it with tfds.load, an",
        ),
        (lambda: _sent(_builder()), r"has no prepared 'mnist' under there. Prepare it where there is a network"),
        (
            lambda: _sent(_builder(examples=[{"image": np.zeros((n, 4, 1))} for n in (4, 5)])),
            r"example 0 of 'mnist' has shape \(4, 4, 1\) and example 1 \(5, 4, 1\). Give kvae.data.load size=\(height",
        ),
    ],
}
