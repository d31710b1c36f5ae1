"""TensorFlow by hand: a compiled call per batch, or per epoch, with XLA and without."""

import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from common import LEARNING_RATE, PIXELS, Job, repeated, serve
from residual import decoded, encoded

layers = keras.layers


def networks(job: Job) -> tuple[keras.Model, keras.Model]:
    """An encoder to `[B, 2 latents]` and a decoder to logits `[B, *event_shape]`."""
    if job.network == "resnet":
        x, z = keras.Input(job.event_shape), keras.Input((job.latents,))
        return keras.Model(x, layers.Dense(2 * job.latents)(encoded(x))), keras.Model(z, decoded(z))
    if job.network == "conv":
        options = {"strides": 2, "padding": "same", "activation": "relu"}
        encoder = [layers.Conv2D(32, 3, **options), layers.Conv2D(64, 3, **options), layers.Flatten()]
        encoder += [layers.Dense(16, "relu")]
        decoder = [layers.Dense(7 * 7 * 64, "relu"), layers.Reshape((7, 7, 64))]
        decoder += [layers.Conv2DTranspose(64, 3, **options), layers.Conv2DTranspose(32, 3, **options)]
        decoder += [layers.Conv2DTranspose(1, 3, padding="same")]
    else:
        encoder = [layers.Dense(size, job.activation) for size in job.hidden]
        decoder = [layers.Dense(size, job.activation) for size in reversed(job.hidden)] + [layers.Dense(PIXELS)]
    encoder.append(layers.Dense(2 * job.latents))
    return (
        keras.Sequential([keras.Input(job.event_shape), *encoder]),
        keras.Sequential([keras.Input((job.latents,)), *decoder]),
    )


def log_terms(encoder, decoder, x, samples):
    """log p(x|z) `[S, B]` and KL(q || N(0, I)) `[B]`."""
    mean, raw = tf.split(encoder(x), 2, axis=-1)
    scale = tf.math.softplus(raw)
    z = mean + scale * tf.random.normal([samples, *mean.shape])
    logits = tf.reshape(decoder(tf.reshape(z, [-1, z.shape[-1]])), [samples, *x.shape])
    labels = tf.broadcast_to(x, logits.shape)
    cross = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    kl = 0.5 * tf.reduce_sum(scale**2 + mean**2 - 1.0 - 2.0 * tf.math.log(scale), -1)
    return -tf.reduce_sum(cross, axis=tf.range(2, tf.rank(cross))), kl


def train(job: Job) -> dict:
    """Epochs in four modes, each with a model of its own."""
    modes = {
        "TensorFlow, a call per batch": (False, False),
        "TensorFlow, a call per batch, XLA": (False, True),
        "TensorFlow, an epoch per call": (True, False),
        "TensorFlow, an epoch per call, XLA": (True, True),
    }
    if job.convolves:  # XLA's convolutions inside a loop are forty times as slow
        del modes["TensorFlow, an epoch per call, XLA"]
    found = {name: repeated(trainer(job, *mode), job.epochs) for name, mode in modes.items()}
    if not job.convolves:
        found["the matrix products alone"] = repeated(products(job), job.epochs)
    return found


def trainer(job: Job, whole_epoch: bool, jit: bool):
    """A function that trains for one epoch and returns its mean loss."""
    keras.utils.set_random_seed(0)
    encoder, decoder = networks(job)
    weights = encoder.trainable_weights + decoder.trainable_weights
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(weights)
    data = tf.constant(job.data())
    epochs = iter(range(10**9))

    def step(data, rows):
        x = tf.gather(data, rows)
        with tf.GradientTape() as tape:
            log_px_z, kl = log_terms(encoder, decoder, x, job.samples)
            loss = tf.reduce_mean(kl - tf.reduce_mean(log_px_z, 0))
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    @tf.function(jit_compile=jit)
    def one(data, rows):
        return step(data, rows)

    @tf.function(jit_compile=jit)
    def all_of(data, order):
        total = tf.constant(0.0)
        for i in tf.range(order.shape[0]):
            total += step(data, order[i])
        return total / order.shape[0]

    def epoch():
        order = job.order(next(epochs))
        if whole_epoch:
            return float(all_of(data, tf.constant(order)))
        return float(tf.reduce_mean([one(data, tf.constant(rows)) for rows in order]))

    return epoch


def products(job: Job):
    """The matrix products of one epoch of `train` and nothing else, in one graph."""
    random = np.random.default_rng(0)
    encoder, decoder = [PIXELS, *job.hidden, 2 * job.latents], [job.latents, *reversed(job.hidden), PIXELS]
    cases = []
    for rows, sizes in ((job.batch, encoder), (job.batch * job.samples, decoder)):
        for a, b in itertools.pairwise(sizes):
            shapes = (rows, a), (a, b), (rows, b)
            cases.append([tf.constant(random.normal(size=shape).astype("f")) for shape in shapes])

    @tf.function
    def epoch():
        total = tf.constant(0.0)
        for _ in tf.range(job.images // job.batch):
            for layer, (x, w, g) in enumerate(cases):
                total += tf.matmul(x, w)[0, 0] + tf.matmul(x, g, transpose_a=True)[0, 0]
                total += tf.matmul(g, w, transpose_b=True)[0, 0] if layer else 0.0
        return total

    return lambda: float(epoch())


def likelihood(job: Job) -> dict:
    """log p(x) by importance sampling, an image at a time, and the decoder's passes of it alone."""
    encoder, decoder = networks(job)
    data = tf.constant(job.data())

    def score(x):
        mean, raw = tf.split(encoder(x[None]), 2, axis=-1)
        scale = tf.math.softplus(raw)
        eps = tf.random.normal([job.samples, job.latents])
        z = mean + scale * eps
        labels = tf.broadcast_to(x, [job.samples, *x.shape])
        cross = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=decoder(z))
        log_ratio = tf.reduce_sum(0.5 * (eps**2 - z**2) + tf.math.log(scale), -1)
        log_px_z = -tf.reduce_sum(tf.reshape(cross, [job.samples, -1]), -1)
        return tf.reduce_logsumexp(log_px_z + log_ratio) - np.log(job.samples)

    def passes(x):
        return decoder(x[0] + tf.zeros([job.samples, job.latents]))[0, 0]

    def over(function, jit):
        compiled = tf.function(function, jit_compile=jit)
        return lambda: np.mean([float(tf.reduce_mean(compiled(x))) for x in data])

    return {
        "TensorFlow": over(score, False),
        "TensorFlow, XLA": over(score, True),
        "the decoder's passes alone": over(passes, False),
        "the decoder's passes alone, XLA": over(passes, True),
    }


def encode(job: Job) -> dict:
    """Posterior means of all images in one call."""
    encoder, _ = networks(job)
    data = tf.constant(job.data())

    def program(jit):
        means = tf.function(lambda x: encoder(x)[:, : job.latents], jit_compile=jit)
        return lambda: means(data).numpy().mean()

    return {"TensorFlow": program(False), "TensorFlow, XLA": program(True)}


def sample(job: Job) -> dict:
    """Means of p(x|z) for z from the prior, all in one call."""
    _, decoder = networks(job)

    def program(jit):
        draw = tf.function(lambda: tf.sigmoid(decoder(tf.random.normal([job.images, job.latents]))), jit_compile=jit)
        return lambda: draw().numpy().mean()

    return {"TensorFlow": program(False), "TensorFlow, XLA": program(True)}


if __name__ == "__main__":
    serve({"train": train, "likelihood": likelihood, "encode": encode, "sample": sample})
