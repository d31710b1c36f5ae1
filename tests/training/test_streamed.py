"""Rows that are read from disk while the steps run: the same numbers, to the last bit, as with the data in memory."""

import contextlib
import os
import pathlib
import signal
import threading
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.data.shards import Shards
from kvae.training import loop, streamed
from kvae.training.feeds import Held
from kvae.training.streamed import Streamed
from tests.conformance import quick

ROWS, SIZE = 101, 8
random = np.random.default_rng(0)
GREY = random.integers(0, 256, (ROWS, 6)).astype(np.uint8)
REAL = random.normal(size=(ROWS, 6))
MASK = random.random((ROWS, 6)) < 0.8
WEIGHT = random.random(ROWS).astype(np.float32)
LABELS = random.integers(0, 3, ROWS)
CASES = {  # how an array becomes a split, the likelihood, options of the networks
    "scaled": (lambda x: kvae.data.Split(x, scale=1 / 255, batch_size=SIZE), GREY, "continuous_bernoulli", {}),
    "integers": (lambda x: kvae.data.Split(x, batch_size=SIZE), GREY, "beta_binomial", {}),
    "dynamic": (
        lambda x: kvae.data.Split(x, scale=1 / 255, dynamic=True, batch_size=SIZE, seed=2), GREY, "bernoulli", {},
    ),
    "masked": (
        lambda x: kvae.data.Split(x, LABELS, WEIGHT, mask=MASK, batch_size=SIZE), REAL.astype(np.float32), "normal",
        {"condition": 3},
    ),
    "float64": (lambda x: kvae.data.Split(x, batch_size=SIZE), REAL, "normal", {}),
    "float16": (lambda x: kvae.data.Split(x, batch_size=SIZE), REAL.astype(np.float16), "normal", {}),
}  # fmt: skip


@contextlib.contextmanager
def small_blocks(steps=3, row_bytes=6):
    """Everything on disk is streamed, so many steps of rows of so many bytes at a time."""
    with (
        mock.patch.object(loop, "LARGEST_HELD", 0),
        mock.patch.object(streamed, "_BLOCK", steps * SIZE * row_bytes),
        mock.patch.object(Streamed, "_read", autospec=True, side_effect=Streamed._read) as reads,
    ):
        yield reads


def stored(x, folder) -> np.ndarray:
    """The array, memory-mapped."""
    np.save(pathlib.Path(folder, "x_train.npy"), x)
    return kvae.data.folder(folder)["x_train"]


def model(likelihood="normal", jit=False, **options):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(5,), **options), likelihood=likelihood, seed=3)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=jit, steps_per_execution=5)
    return vae


def numbers(vae) -> list[np.ndarray]:
    return [weight.numpy() for weight in [*vae.weights, *vae.optimizer.variables]]


@quick("test_the_same_as_in_memory", "masked")
class StreamedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(
        *((name, name, False) for name in CASES), *((f"{name}_xla", name, True) for name in ("dynamic", "masked"))
    )
    def test_the_same_as_in_memory(self, case, jit):
        split, x, likelihood, options = CASES[case]

        def run(array):
            vae = model(likelihood, jit, **options)
            history = vae.fit(split(array), epochs=3, validation_data=split(array).first(37), verbose=0).history
            logs = [vae.evaluate(split(array), batch_size=size, verbose=0, return_dict=True) for size in (5, 200)]
            return history, logs, numbers(vae)

        expected = run(x)
        with small_blocks(row_bytes=sum(a[0].nbytes for a in (x, MASK)) if case == "masked" else x[0].nbytes) as reads:
            found = run(stored(x, self.create_tempdir().full_path))
        self.assertGreater(reads.call_count, 3 * 5)  # 12 whole batches a pass in four blocks, and a ragged one
        self.assertEqual(found[:2], expected[:2])
        for a, b in zip(found[2], expected[2], strict=True):
            np.testing.assert_array_equal(a, b)

    def test_several_files_are_one(self):
        folders = [self.create_tempdir().full_path for _ in range(2)]
        kvae.data.write_shards(folders[0], GREY, 17)
        np.save(pathlib.Path(folders[1], "x_train.npy"), GREY)
        found = []
        for folder in folders:
            data = kvae.data.load(folder, validation=0.2, binarize="dynamic", batch_size=SIZE)
            vae = model("bernoulli")
            with small_blocks() as reads:
                history = vae.fit(data.train, validation_data=data.validation, epochs=2, verbose=0).history
            self.assertGreater(reads.call_count, 2 * 3)
            found.append((history, numbers(vae)))
        self.assertEqual(found[0][0], found[1][0])
        for a, b in zip(found[0][1], found[1][1], strict=True):
            np.testing.assert_array_equal(a, b)

    def test_told_to_end_in_the_middle_of_an_epoch(self):
        """SIGTERM inside a block; what continues ends as a run that was not told to end, and as one in memory."""
        folder = self.create_tempdir().full_path
        path, split = pathlib.Path(folder, "model.keras"), CASES["dynamic"][0]
        through = model("bernoulli")
        through.fit(split(GREY), epochs=3, verbose=0)

        class Terminate(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if int(self.model.optimizer.iterations) == 17:
                    os.kill(os.getpid(), signal.SIGTERM)

        callbacks = [kvae.callbacks.Checkpoint(path, on_sigterm=True), Terminate()]
        with small_blocks(), self.assertRaises(SystemExit):
            model("bernoulli").fit(split(stored(GREY, folder)), epochs=3, verbose=0, callbacks=callbacks)
        again = kvae.load_model(path)
        self.assertEqual((int(again.passes), int(again.position)), (1, 5))  # 18 steps: 13 make a pass
        with small_blocks():
            again.fit(split(stored(GREY, folder)), epochs=3, initial_epoch=1, verbose=0)
        for a, b in zip(numbers(again), numbers(through), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_what_is_small_is_held(self):
        x = stored(GREY, self.create_tempdir().full_path)
        with mock.patch.object(Streamed, "_read", side_effect=AssertionError):
            model().fit(kvae.data.Split(x, batch_size=SIZE), verbose=0)
            with mock.patch.object(loop, "LARGEST_HELD", x.nbytes - 1), self.assertRaises(AssertionError):
                model().fit(kvae.data.Split(x, batch_size=SIZE), verbose=0)

    def test_values_outside_the_support_are_found_before_the_first_step(self):
        x = REAL.astype(np.float32).copy()
        x[77, 2] = np.nan
        vae = model()
        with small_blocks() as reads, self.assertRaisesRegex(ValueError, r"x\[77, 2\] is nan"):
            vae.fit(stored(x, self.create_tempdir().full_path), verbose=0)
        self.assertEqual((reads.call_count, int(vae.optimizer.iterations)), (0, 0))

    def test_an_error_of_the_disk_ends_the_fit(self):
        x = stored(GREY, self.create_tempdir().full_path)
        with small_blocks() as reads:
            reads.side_effect = OSError("the disk")
            with self.assertRaisesRegex(OSError, "the disk"):
                model().fit(kvae.data.Split(x, batch_size=SIZE), verbose=0)


class FeedTest(tf.test.TestCase, parameterized.TestCase):
    """The batches of pieces against the arrays themselves."""

    def feeds(self, rows=ROWS, own=lambda rows: slice(0, rows)):
        x, label = np.arange(2 * rows, dtype=np.int32).reshape(rows, 2), np.arange(rows, dtype=np.int64)
        self.threads = set()

        class Watched(Shards):
            def __getitem__(this, rows):
                self.threads.add(threading.current_thread().name)
                return super().__getitem__(rows)

        arrays = {"x": Watched([x[:10], x[10:]]), "condition": label}
        with mock.patch.object(streamed, "_BLOCK", 3 * SIZE * 16):
            return Held(arrays, SIZE, self.order), Streamed(arrays, SIZE, self.order, True, own)

    def order(self, passes):
        return np.random.default_rng(passes).permutation(self.rows).astype(np.int32)

    def batches(self, feed, passes, first, count):
        for piece in feed.pieces(passes, first, count):
            for step in range(piece.first, piece.first + piece.steps):
                yield {name: array.numpy()[piece.rows[step]] for name, array in piece.arrays.items()}

    @parameterized.parameters(101, 96, 5, 8)
    def test_every_batch_of_some_passes(self, rows):
        """In calls of any length, the first of which begins in the middle of a block, and of a pass."""
        self.rows = rows
        steps = -(-rows // SIZE)
        calls = [(2, 7 % steps, min(2, steps - 7 % steps)), (2, min(9, steps - 1), 1)]
        calls += [(p, first, min(5, steps - first)) for p in (3, 4) for first in range(0, steps, 5)]
        for feed in self.feeds(rows):
            for passes, first, count in calls:
                found = list(self.batches(feed, passes, first, count))
                self.assertLen(found, count)
                for number, batch in enumerate(found, start=first):
                    expected = self.order(passes)[number * SIZE : (number + 1) * SIZE]
                    self.assertAllEqual(batch["condition"], expected)
                    self.assertAllEqual(batch["x"], np.stack([2 * expected, 2 * expected + 1], axis=1))
        self.assertEqual({name.partition("_")[0] for name in self.threads}, {"kvae reads ahead"})

    def test_a_worker_reads_its_own_rows(self):
        self.rows = ROWS
        _, feed = self.feeds(own=lambda rows: slice(rows // 3, 2 * rows // 3))
        for number, batch in enumerate(self.batches(feed, 0, 0, 13)):
            expected = self.order(0)[number * SIZE : (number + 1) * SIZE]
            own = slice(len(expected) // 3, 2 * len(expected) // 3)
            self.assertAllEqual(batch["condition"][own], expected[own])
            batch["condition"][own] = 0
            self.assertAllEqual(batch["condition"], np.zeros(len(expected)))
