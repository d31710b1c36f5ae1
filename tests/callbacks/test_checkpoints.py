"""Checkpoints: written whole, by epoch and on SIGTERM; the best one."""

import math
import os
import pathlib
import signal

import keras
import pytest
import tensorflow as tf

import kvae
from tests.conformance import examples, make_vae


class CheckpointTest(tf.test.TestCase):
    def test_every_epoch_and_the_end(self):
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        vae = make_vae()
        x = examples(vae.likelihood, (6,))
        saved = []
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: saved.append(int(kvae.load_model(path).passes))
        )
        vae.fit(x, epochs=3, verbose=0, callbacks=[kvae.callbacks.Checkpoint(path), watch])
        self.assertEqual(saved, [1, 2, 3])
        late = kvae.callbacks.Checkpoint(path, seconds=1e6)
        vae.fit(x, epochs=3, verbose=0, callbacks=[late])
        self.assertEqual(int(kvae.load_model(path).passes), 6)
        self.assertEqual(os.listdir(path.parent), ["model.keras"])
        with self.assertRaisesRegex(ValueError, "ends in .keras"):
            kvae.callbacks.Checkpoint("model.h5")

    def test_a_failed_save_keeps_the_old_file(self):
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        vae = make_vae(objective=lambda: kvae.objectives.ELBO(beta=lambda step: 1.0))
        path.write_text("old")
        with self.assertRaises(ValueError):
            vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[kvae.callbacks.Checkpoint(path)])
        self.assertEqual((path.read_text(), os.listdir(path.parent)), ("old", ["model.keras"]))

    @pytest.mark.slow
    def test_sigterm_saves_and_exits(self):
        """In the middle of an epoch; continued, the model ends as one that was not told to end."""
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        x = examples(make_vae().likelihood, (6,), n=48)
        through = make_vae()
        through.fit(x, batch_size=8, epochs=3, verbose=0)

        class Terminate(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if int(self.model.optimizer.iterations) == 9:
                    os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        with self.assertRaises(SystemExit) as raised:
            checkpoint = kvae.callbacks.Checkpoint(path, on_sigterm=True)
            make_vae().fit(x, batch_size=8, epochs=3, verbose=0, callbacks=[checkpoint, Terminate()])
        self.assertEqual(raised.exception.code, 143)
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)
        again = kvae.load_model(path)
        self.assertEqual((int(again.passes), int(again.position)), (1, 4))
        again.fit(x, batch_size=8, epochs=3, initial_epoch=1, verbose=0)
        for a, b in zip(again.weights, through.weights, strict=True):
            self.assertAllEqual(a, b)

    def test_the_handler_is_given_back(self):
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        before = signal.getsignal(signal.SIGTERM)
        vae = make_vae()
        checkpoint = kvae.callbacks.Checkpoint(path, on_sigterm=True)
        vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[checkpoint])
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)
        stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
        with self.assertRaises(ZeroDivisionError):
            vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[checkpoint, stop])
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)

    def test_best_over_another_file(self):
        path = pathlib.Path(self.create_tempdir().full_path, "best.keras")
        path.write_text("no model")
        with self.assertRaisesRegex(ValueError, "best.keras is not a readable .keras file"):
            vae = make_vae()
            vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[kvae.callbacks.BestCheckpoint(path, "loss")])
        self.assertEqual(path.read_text(), "no model")

    def test_best(self):
        """The best epoch is kept, also by a fit after a restart; another log begins anew."""
        path = pathlib.Path(self.create_tempdir().full_path, "best.keras")
        vae = make_vae()

        def go(values, monitor):
            best = kvae.callbacks.BestCheckpoint(path, monitor)
            best.set_model(vae)
            best.on_train_begin()
            for epoch, value in enumerate(values):
                vae.draws.assign(int(1000 * value + 10_000))  # to tell the saved models apart
                best.on_epoch_end(epoch, {monitor: value})
                best.on_epoch_end(epoch, {monitor: math.nan})
            return (int(kvae.load_model(path).draws) - 10_000) / 1000, best.best

        self.assertEqual(go([-5.0, -3.0, -4.0], "val_elbo"), (-3.0, -3.0))
        self.assertEqual(go([-3.5, -3.1], "val_elbo"), (-3.0, -3.0))
        self.assertEqual(go([-2.0, -2.5], "val_elbo"), (-2.0, -2.0))
        self.assertEqual(go([7.0, 5.0, 6.0], "val_loss"), (5.0, 5.0))
        self.assertEqual(go([9.0, 3.0, 2.0, 4.0], "val_kl"), (2.0, 2.0))
        self.assertEqual(os.listdir(path.parent), ["best.keras"])
        x = examples(vae.likelihood, (6,))
        with self.assertRaisesRegex(ValueError, "monitors 'val_elbo', but the logs of this fit are"):
            vae.fit(x, verbose=0, callbacks=[kvae.callbacks.BestCheckpoint(path)])
