"""Messages of `compile`, `fit` and `evaluate`: place to (call, message[, type])."""

import threading
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import kvae
from kvae import schedules
from kvae.training import compiling
from tests.conformance import make_vae
from tests.messages.given import BITS, X, batches, conditional, vae


def _with_a_refused_layer(jit_compile):
    with mock.patch.object(compiling, "refused_layers", lambda networks: ["up (UpSampling2D)"]):
        make_vae(compiled=False).compile("adam", jit_compile=jit_compile)


def _without_xla():
    model = make_vae(compiled=False)
    model.compile("adam")
    model.without_xla(ValueError("Detected unsupported operations: Resize"))


def _while_another_trains():
    model, inside, done = make_vae(), threading.Event(), threading.Event()

    def train():
        with model._alone("fit"):
            inside.set()
            done.wait()

    thread = threading.Thread(target=train)
    thread.start()
    inside.wait()
    try:
        model.predict(X)
    finally:
        done.set()
        thread.join()


def _frozen():
    model = make_vae(compiled=False)
    model.trainable = False
    model.compile("adam")
    model.fit(X)


def _under_a_strategy(**arguments):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        kvae.VAE(*kvae.networks.mlp((4,), 2, hidden=())).compile(**arguments)


def _late(x):
    """Wrong in the last of 10 batches, beyond those that are looked at in the pipeline."""
    x = np.tile(x, (2, 1))
    x[-1, -1] = 0.5
    return batches(x, size=2)


def _late_condition():
    labels = np.arange(20) % 4
    labels[-1] = 9
    return batches(np.tile(X, (2, 1)), labels, size=2)


def _unknown():
    """Without batches, which shows only when it is read."""
    return batches(X).filter(lambda x: False)


def _short():
    model = make_vae(objective=lambda: kvae.objectives.ELBO(beta=schedules.Linear(steps=100)), compiled=False)
    model.compile("adam", run_eagerly=True)
    model.fit(X, verbose=0)


def _overflows(scale, rate):
    model = make_vae(likelihood=lambda: kvae.likelihoods.Normal(scale=scale), compiled=False)
    model.compile(keras.optimizers.SGD(rate), run_eagerly=True)
    model.fit((1e10 if scale < 1 else 1.0) * X, epochs=3, verbose=0)


ROWS = {
    "training.compiling.Compiled.compile": [
        (
            lambda: vae().compile(optimiser="a"),
            "unexpected keyword argument 'optimiser'. It takes optimizer, ",
            TypeError,
        ),
        (
            lambda: vae().compile("adam", loss="mse"),
            r"compile\(loss=...\) has no place in a VAE.*Give it to the constr",
        ),
        (
            lambda: _under_a_strategy(optimizer=keras.optimizers.SGD(gradient_accumulation_steps=4)),
            "gradient_accumulation_steps=4 does not go with a strategy .*Give a batch_size that many times as large",
        ),
    ],
    "training.compiling.Compiled._xla": [
        (
            lambda: _under_a_strategy(jit_compile=True),
            "with XLA. Use jit_compile='auto' or False under a str",
        ),
        (lambda: _with_a_refused_layer(True), "XLA cannot compile up .UpSampling2D.. Use jit_compile='auto' or False"),
        (
            lambda: _with_a_refused_layer("auto"),
            "XLA cannot compile up .*: the model is trained without XLA",
            UserWarning,
        ),
    ],
    "training.compiling.Compiled.without_xla": [
        (_without_xla, "XLA cannot compile this model, which is trained without it: Detected uns", UserWarning),
    ],
    "training.compiling.Compiled._alone": [
        (_while_another_trains, r"predict\(\) was called while another thread trains .*Wait for it, or", RuntimeError),
    ],
    "training.compiling.optimizer_of": [
        (lambda: vae().compile("adma"), "must be a Keras optimizer or its name, such as 'adam', got 'adma'"),
    ],
    "training.evaluator.Evaluator._evaluate": [
        (lambda: vae().evaluate(_unknown(), verbose=0), "The data are empty: they gave no batch to evaluate. Give at"),
        (
            lambda: vae("bernoulli").evaluate(_late(BITS), verbose=0),
            r"evaluation data are wrong: Bernoulli explains x in \{0, 1\}, but a batch held other.*Scale or clean the",
        ),
        (
            lambda: conditional().evaluate(_late_condition(), verbose=0),
            r"evaluation data are wrong: a batch held a condition .*It takes labels 0..3, or finite numbers of shape",
        ),
    ],
    "training.evaluator.Evaluator._checked": [
        (lambda: vae().predict(_unknown(), verbose=0), "The data are empty: they gave no batch to predict. Give at"),
    ],
    "training.evaluator.Evaluator._one_batch": [
        (
            lambda: vae().train_on_batch(batches(X)),
            "array or a dict of arrays. Give pipelines to fit, evaluate or pred",
        ),
    ],
    "training.fit_arguments.check_ends": [
        (lambda: vae().fit(batches(X).repeat()), r"never end: give steps_per_epoch=, the number .* or data.take\(n\)"),
    ],
    "training.fit_arguments.listed": [
        (
            lambda: vae().fit(X, callbacks=keras.callbacks.CallbackList()),
            "takes a list of callbacks, got a CallbackList",
        ),
        (lambda: vae().fit(X, callbacks=["stop"]), "callbacks must be Keras callbacks, got str 'stop'"),
    ],
    "training.fit_callbacks.StopOnFault.on_epoch_end": [
        (lambda: vae().fit(_unknown(), verbose=0), "The data are empty: they gave no batch to train on. Give at"),
    ],
    "training.fit_callbacks.StopOnFault.on_train_batch_end": [
        (lambda: vae("bernoulli").fit(_late(BITS), verbose=0), "Training stopped at step 10: Bernoulli explains x in"),
        (lambda: conditional().fit(_late_condition(), verbose=0), "stopped at step 10: a batch held a condition that"),
        (
            lambda: _overflows(1e-30, 0.01),
            "step 1: the reconstruction term is not.*rate is 0.01; try a ten",
            FloatingPointError,
        ),
        (
            lambda: _overflows(1.0, 1e30),
            "step .: the (kl|reconstruction) term .* Likely cause: .*clipnorm=1",
            FloatingPointError,
        ),
    ],
    "training.trainer.Trainer.fit": [
        (lambda: vae().fit(X, class_weight={0: 1}), r"belongs to classifiers; give fit\(sample_weight=...\) instead"),
        (_frozen, "nothing to train: all weights are frozen. Set trainable = True, and compile"),
    ],
    "training.trainer.Trainer._fit": [
        (
            lambda: vae().fit(batches(X), validation_split=0.5),
            "divides arrays; give a pipeline's validation_data by its",
        ),
    ],
    "training.trainer.Trainer._warn_if_short": [
        (
            _short,
            "fit ends at optimizer step 1, before the schedule of beta does at step 100: .*Train for",
            UserWarning,
        ),
    ],
    "training.trainer.Trainer.train_on_batch": [
        (lambda: vae().train_on_batch(X, class_weight={0: 1}), "belongs to classifiers; give sample_weight instead"),
    ],
}
