"""Data sets: splits, scaling, binarisation, and what comes out of the pipelines."""

import gzip
import os
import pathlib

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from sklearn.datasets import load_digits

import kvae
from kvae.data.splits import Split


class DigitsTest(tf.test.TestCase, parameterized.TestCase):
    def test_parts(self):
        data = kvae.data.load("digits", validation=0.1)
        self.assertEqual([len(s) for s in (data.train, data.validation, data.test)], [1350, 150, 297])
        self.assertEqual((data.event_shape, data.support.name), ((8, 8, 1), "[0, 1]"))
        everything = np.concatenate([data.train.x, data.validation.x, data.test.x]).reshape(-1, 64)
        expected = (load_digits().data / 16).astype(np.float32)
        order = [np.lexsort(a.T) for a in (everything, expected)]
        self.assertAllEqual(everything[order[0]], expected[order[1]])  # every digit once
        self.assertEqual(data.train.array.dtype, np.uint8)

    def test_labels_go_with_images(self):
        data = kvae.data.load("digits")
        images, target = load_digits().images, load_digits().target
        known = {image.tobytes(): y for image, y in zip(images.astype(np.uint8), target, strict=True)}
        for split in (data.train, data.validation, data.test):
            for image, y in zip(split.array[:50], split.y[:50], strict=True):
                self.assertEqual(known[np.ascontiguousarray(image[..., 0]).tobytes()], y)

    def test_the_test_part_never_moves(self):
        a, b = kvae.data.load("digits", seed=0), kvae.data.load("digits", seed=1, validation=0)
        self.assertAllEqual(a.test.array, b.test.array)
        self.assertIsNone(b.validation)
        self.assertLen(b.train, 1500)
        self.assertNotAllEqual(a.validation.array, kvae.data.load("digits", seed=1).validation.array)

    @parameterized.parameters("static", "dynamic")
    def test_binarised_means(self, binarize):
        """Each pixel is 1 with probability x: the mean over data within 4 standard errors; validation, test fixed."""
        data = kvae.data.load("digits", binarize=binarize, validation=0.2)
        grey = kvae.data.load("digits", validation=0.2)
        self.assertEqual(data.support.name, "{0, 1}")
        for part in ("train", "validation", "test"):
            x, p = getattr(data, part).x, getattr(grey, part).x
            self.assertAllInSet(x, [0.0, 1.0])
            error = np.sqrt((p * (1 - p)).sum()) / p.size
            self.assertLess(abs(x.mean() - p.mean()), 4 * error)
            self.assertAllEqual(x, getattr(data, part).x)
            self.assertEqual(getattr(data, part).dynamic, binarize == "dynamic" and part == "train")

    def test_dynamic_is_new_every_epoch(self):
        train = kvae.data.load("digits", binarize="dynamic", validation=0).train
        epochs = []
        pipeline = train.dataset()
        for epoch in (0, 1, 1):
            batches = np.concatenate([x for x, _ in train.dataset(epoch=epoch).as_numpy_iterator()])
            back = np.argsort(train.order(train.seed, epoch))
            epochs.append(batches[back])
        self.assertAllEqual(epochs[1], epochs[2])
        for epoch in (0, 1):  # by itself a dataset goes on to the next epoch
            batches = np.concatenate([x for x, _ in pipeline.as_numpy_iterator()])
            self.assertAllEqual(batches[np.argsort(train.order(train.seed, epoch))], epochs[epoch])
        grey = kvae.data.load("digits", validation=0).train.x
        for p in (0.25, 0.5, 0.75):
            at = grey == p
            for values in epochs[:2]:
                self.assertLess(abs(values[at].mean() - p), 4 * np.sqrt(p * (1 - p) / at.sum()))
            differ = (epochs[0] != epochs[1])[at].mean()  # independent draws differ with probability 2 p (1 - p)
            self.assertLess(abs(differ - 2 * p * (1 - p)), 4 * 0.5 / np.sqrt(at.sum()))

    def test_dequantised(self):
        data = kvae.data.load("digits", dequantize=True)
        grey = kvae.data.load("digits")
        self.assertAllEqual(np.floor(data.test.x * 17), grey.test.x * 16)
        self.assertAllInRange(data.train.x, 0.0, 1.0)
        self.assertGreater((data.train.x * 17 % 1).std(), 0.28)  # uniform: 1 / sqrt(12) = 0.289


class SourcesTest(tf.test.TestCase):
    def test_npz(self):
        path = f"{self.create_tempdir().full_path}/some.npz"
        x = np.random.default_rng(0).integers(0, 256, (20, 5, 4)).astype(np.uint8)
        np.savez(path, x_train=x, x_test=x[:3], y_train=np.arange(20), other=1)
        data = kvae.data.load(path, validation=0.25)
        self.assertEqual(data.event_shape, (5, 4, 1))
        self.assertEqual([len(data.train), len(data.validation), len(data.test)], [15, 5, 3])
        self.assertAllClose(data.test.x[..., 0], x[:3] / 255.0)
        self.assertAllEqual(data.train.x[..., 0], np.float32(x[data.train.y]) * np.float32(1 / 255))
        np.savez(path, x=x)
        with self.assertRaisesRegex(ValueError, "needs an array x_train, it holds \\['x'\\]"):
            kvae.data.load(path)

    def test_arrays_keep_their_numbers(self):
        x = np.random.default_rng(0).normal(size=(10, 3))
        data = kvae.data.from_arrays(x, x_validation=x[:2], x_test=x[2:4])
        self.assertAllClose(data.train.x, x)
        self.assertLen(data.validation, 2)
        self.assertEqual(data.support.name, "the real numbers")
        for dtype in (np.float64, np.uint8, bool):
            binary = kvae.data.from_arrays(np.eye(4, dtype=dtype), validation=0)
            self.assertEqual(binary.support.name, "{0, 1}")
            self.assertAllEqual(binary.train.x, np.eye(4))

    def test_parts_have_one_shape(self):
        images = np.zeros((9, 3, 2), np.uint8)
        both = kvae.data.from_arrays(images, images[..., None], validation=0)
        self.assertEqual((both.event_shape, both.test.event_shape), ((3, 2, 1), (3, 2, 1)))
        message = r"x_test have shape \(3, 2\), but those of x_train have \(3, 2, 1\)"
        with self.assertRaisesRegex(ValueError, message):
            kvae.data.from_arrays(images, images / 255.0, validation=0)

    def test_idx_files(self):
        """Written byte by byte as the format says, plain and compressed."""
        path = pathlib.Path(self.create_tempdir().full_path)
        random = np.random.default_rng(0)
        x, y = random.integers(0, 256, (12, 5, 4)).astype(np.uint8), np.arange(12, dtype=np.uint8)
        header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in x.shape)
        labels = bytes([0, 0, 8, 1]) + (12).to_bytes(4, "big") + y.tobytes()
        (path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + x.tobytes()))
        (path / "train-labels-idx1-ubyte").write_bytes(labels)
        (path / "t10k-images.idx3-ubyte").write_bytes(header + x[::-1].tobytes())
        data = kvae.data.load(str(path), validation=0)
        self.assertAllEqual(data.train.array[..., 0], x)
        self.assertAllEqual(data.train.y, y)
        self.assertAllEqual(data.test.array[..., 0], x[::-1])
        self.assertIsNone(data.test.y)

        floats = random.normal(size=(3, 2)).astype(">f4")
        (path / "f").write_bytes(bytes([0, 0, 0x0D, 2, 0, 0, 0, 3, 0, 0, 0, 2]) + floats.tobytes())
        self.assertAllEqual(kvae.data.sources.read_idx(path / "f"), floats.astype(np.float32))
        (path / "f").write_bytes((path / "f").read_bytes()[:-1])
        with self.assertRaisesRegex(ValueError, "truncated or damaged: it has 35 bytes and promises 36"):
            kvae.data.sources.read_idx(path / "f")
        (path / "f").write_bytes(b"PNG")
        with self.assertRaisesRegex(ValueError, "not an IDX file"):
            kvae.data.sources.read_idx(path / "f")

    def test_folder_of_images(self):
        path = pathlib.Path(self.create_tempdir().full_path)
        random = np.random.default_rng(0)
        written = {}
        for name in ("train/cat/1", "train/cat/2", "train/ant/1", "test/cat/9"):
            image = random.integers(0, 256, (4, 3, 3)).astype(np.uint8)
            written[name] = image
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / f"{name}.png").write_bytes(tf.io.encode_png(image).numpy())
        data = kvae.data.load(str(path), validation=0)
        order = ("train/ant/1", "train/cat/1", "train/cat/2")
        self.assertAllEqual(data.train.array, np.stack([written[name] for name in order]))
        self.assertAllEqual(data.train.y, [0, 1, 1])
        self.assertAllEqual(data.test.array, written["test/cat/9"][None])
        self.assertAllEqual(data.test.y, [1])  # the classes of all parts are numbered together
        self.assertEqual(data.classes, ("ant", "cat"))
        flat = kvae.data.load(str(path / "train" / "cat"), validation=0)
        self.assertAllEqual(flat.train.array, np.stack([written["train/cat/1"], written["train/cat/2"]]))
        self.assertEqual((flat.train.y, flat.test), (None, None))
        (path / "train/cat/3.png").write_bytes(tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy())
        with self.assertRaisesRegex(ValueError, r"of one size, but .*1.png has shape \(4, 3, 3\) and .*3.png"):
            kvae.data.load(str(path))
        with self.assertRaisesRegex(ValueError, "nothing that kvae reads: x_train.npy, IDX"):
            kvae.data.load(self.create_tempdir().full_path)

    def test_memory_mapped(self):
        """From disk batch by batch, the same as from memory."""
        path = pathlib.Path(self.create_tempdir().full_path)
        x = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1)).astype(np.uint8)
        np.save(path / "x_train.npy", x)
        np.save(path / "y_train.npy", np.arange(30))
        data = kvae.data.load(str(path), validation=0.2, batch_size=7)
        for split, rows in ((data.train, slice(0, 24)), (data.validation, slice(24, 30))):
            self.assertIsInstance(split.array, np.memmap)
            memory = Split(x[rows], np.arange(30)[rows], scale=1 / 255, batch_size=7, seed=split.seed)
            self.assertAllEqual(split.x, memory.x)
            for (a, b), (c, d) in zip(split.dataset(), memory.dataset(), strict=True):
                self.assertAllEqual(a, c)
                self.assertAllEqual(b, d)
        vae = kvae.VAE(*kvae.networks.mlp((4, 4, 1), 2, hidden=(5,)), likelihood="continuous_bernoulli")
        vae.compile(jit_compile=False)
        vae.fit(data.train.dataset(), validation_data=data.validation.dataset(shuffle=False), epochs=2, verbose=0)
        self.assertEqual(int(vae.optimizer.iterations), 8)
        logs = [vae.evaluate(v, verbose=0) for v in (data.validation, data.validation.dataset(shuffle=False))]
        self.assertAllClose(logs[0], logs[1], rtol=1e-5)

    def test_tensorflow_datasets(self):
        """A prepared directory of tensorflow-datasets, made here, read without a network."""
        import tensorflow_datasets as tfds

        path = self.create_tempdir().full_path
        images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1)).astype(np.uint8)
        features = tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(num_classes=6)}
        )
        split = tf.data.Dataset.from_tensor_slices({"image": images, "label": np.arange(6)})
        tfds.dataset_builders.store_as_tfds_dataset(
            "little", "1.0.0", features, split_datasets={"train": split.take(6), "test": split.take(2)}, data_dir=path
        )
        data = kvae.data.load("little", validation=0, data_dir=path)
        back = np.argsort(data.train.y)
        self.assertAllEqual(data.train.array[back], images)
        self.assertLen(data.test, 2)
        with self.assertRaisesRegex(ValueError, "no data set 'nonesuch'.*'digits'"):
            kvae.data.load("nonesuch", data_dir=path)

    def test_any_name_of_tensorflow_datasets(self):
        """On its own made-up examples: the shapes and types are those of the real sets."""
        import tensorflow_datasets as tfds

        with tfds.testing.mock_data(num_examples=8):
            for name, shape in (("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3)), ("iris", (4,))):
                data = kvae.data.load(name, validation=0.25)
                self.assertEqual((data.event_shape, len(data.train), len(data.validation)), (shape, 6, 2))
                self.assertLen(data.train.y, 6)
            for name, message in (
                ("tf_flowers", r"must be of one size, but example 0 of 'tf_flowers' has shape .*size=\(64, 64\)"),
                ("imdb_reviews", "no 'image' and no 'features', but \\['label', 'text'\\]"),
            ):
                with self.assertRaisesRegex(ValueError, message):
                    kvae.data.load(name)
            flowers = kvae.data.load("tf_flowers", validation=0, size=(6, 5))
            self.assertEqual(flowers.event_shape, (6, 5, 3))

    def test_mnist_where_it_is_prepared(self):
        """The real thing, if KVAE_TFDS_DIR names a directory that holds it; otherwise its absence is an error."""
        path = os.environ.get("KVAE_TFDS_DIR") or self.create_tempdir().full_path
        if os.environ.get("KVAE_TFDS_DIR"):
            data = kvae.data.load("mnist", validation=0, data_dir=path)
            self.assertEqual((len(data.train), len(data.test), data.event_shape), (60000, 10000, (28, 28, 1)))
        else:
            with self.assertRaisesRegex(ValueError, "no prepared 'mnist'.*tfds.load"):
                kvae.data.load("mnist", data_dir=path)

    def test_arguments(self):
        x = np.zeros((10, 3), np.float32)
        for arguments, message in (
            ({"binarize": "always"}, "None, 'static' or 'dynamic', got 'always'"),
            ({"validation": 1.0}, "0 <= validation < 1, got 1.0"),
            ({"validation": 0.01}, "leaves a split empty"),
            ({"dequantize": True}, "uint8"),
            ({"binarize": "static", "dequantize": True}, "exclude each other"),
            ({"batch_size": 0}, "batch_size must be at least 1"),
            ({"y_train": np.zeros(9)}, "x_train has 10 rows but y_train has 9"),
            ({"y_test": np.zeros(9)}, "y_test is given without x_test"),
            ({"x_test": x[:, :2]}, r"examples of x_test have shape \(2,\), but those of x_train have \(3,\)"),
            ({"x_validation": x.astype(str)}, "x_validation must hold real numbers, but its dtype is <U"),
            ({"x_test": np.full((2, 3), 17, np.uint8), "levels": 16}, "x_test holds pixels up to 17, but levels=16"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                kvae.data.from_arrays(x, **arguments)
        for wrong, message in (
            (None, "got None"),
            (3.0, "array of numbers"),
            ("abc", "array of numbers"),
            ([[1, 2], [3]], "x_train is a list whose examples have different shapes"),
            ((row for row in x), "array of numbers"),
            (x + 1j, "must hold real numbers"),
            (np.array([[None]]), "must hold real numbers"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                kvae.data.from_arrays(wrong)
        with self.assertRaisesRegex(ValueError, r"\[0, 1\] for probabilities.*from 0 to 2"):
            kvae.data.from_arrays(np.array([[0.0], [2.0]]), validation=0, binarize="static")


class SplitTest(tf.test.TestCase):
    def test_from_arrays_keeps_masks(self):
        x = np.arange(30, dtype=np.float32).reshape(10, 3)
        data = kvae.data.from_arrays(np.ma.masked_array(x, x % 4 == 0), np.ma.masked_array(x[:4]), validation=0.3)
        for split in (data.train, data.validation):
            self.assertAllEqual(split.mask, split.array % 4 != 0)
        self.assertIsNone(data.test.mask)

    def test_dataset_matches_the_array(self):
        x = np.arange(40, dtype=np.uint8).reshape(20, 2)
        split = Split(x, y=np.arange(20), scale=0.5, batch_size=6)
        pipeline = split.dataset(shuffle=False)
        self.assertEqual(pipeline.cardinality(), 4)
        batches = list(pipeline.as_numpy_iterator())
        self.assertEqual([len(b) for b, _ in batches], [6, 6, 6, 2])
        self.assertAllEqual(np.concatenate([b for b, _ in batches]), x * 0.5)
        shuffled = list(split.dataset(epoch=3).as_numpy_iterator())
        self.assertAllEqual(np.concatenate([y for _, y in shuffled]), split.order(0, 3))
        for b, y in shuffled:
            self.assertAllEqual(b, x[y] * 0.5)
        self.assertFalse(pipeline.options().autotune.enabled)

    def test_dataset_with_weights(self):
        x, w = np.arange(8.0).reshape(4, 2), np.arange(4.0)
        (batch,) = Split(x, y=np.arange(4), sample_weight=w).dataset(shuffle=False)
        for got, want in zip(batch, (x, np.arange(4), w), strict=True):
            self.assertAllEqual(got, want)
        (batch,) = Split(x, sample_weight=w).dataset(shuffle=False)
        self.assertAllEqual(batch["sample_weight"], w)

    def test_is_an_array(self):
        split = Split(np.arange(6, dtype=np.uint8).reshape(3, 2), scale=0.5)
        self.assertAllEqual(np.asarray(split), [[0, 0.5], [1, 1.5], [2, 2.5]])
        self.assertEqual(repr(split), "Split(3 examples of shape (2,), stored as uint8)")
