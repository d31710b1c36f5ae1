"""The style of the VAE example on keras.io: a `train_step` of its own under `fit`, with Keras' defaults."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from common import LEARNING_RATE, PIXELS, Job, serve
from keras import layers, ops
from residual import decoded, encoded


class Sampling(layers.Layer):
    """z from the mean and the logarithm of the variance."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


class VAE(keras.Model):
    """The example's model; its pixel loss is the cross-entropy, summed over the image."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction", "kl")]

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var, z = self.encoder(data)
            cross = keras.losses.binary_crossentropy(data, self.decoder(z))
            axes = tuple(range(1, len(cross.shape)))
            scale = PIXELS if not axes else 1  # on flat data the mean is already over the image
            reconstruction = ops.mean((ops.sum(cross, axis=axes) if axes else cross) * scale)
            kl = ops.mean(ops.sum(-0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var)), axis=1))
            loss = reconstruction + kl
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for tracker, value in zip(self.trackers, (loss, reconstruction, kl), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def train(job: Job) -> dict:
    """Epochs by `fit`."""
    if job.samples > 1:
        return {}
    keras.utils.set_random_seed(0)
    x = h = keras.Input(job.event_shape)
    z = g = keras.Input((job.latents,))
    if job.network == "resnet":
        h, g = encoded(h), layers.Activation("sigmoid")(decoded(g))
    elif job.network == "conv":
        h = layers.Conv2D(32, 3, activation="relu", strides=2, padding="same")(h)
        h = layers.Conv2D(64, 3, activation="relu", strides=2, padding="same")(h)
        h = layers.Dense(16, activation="relu")(layers.Flatten()(h))
        g = layers.Reshape((7, 7, 64))(layers.Dense(7 * 7 * 64, activation="relu")(g))
        g = layers.Conv2DTranspose(64, 3, activation="relu", strides=2, padding="same")(g)
        g = layers.Conv2DTranspose(32, 3, activation="relu", strides=2, padding="same")(g)
        g = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(g)
    else:
        for size in job.hidden:
            h = layers.Dense(size, activation=job.activation)(h)
        for size in reversed(job.hidden):
            g = layers.Dense(size, activation=job.activation)(g)
        g = layers.Dense(PIXELS, activation="sigmoid")(g)
    mean, log_var = layers.Dense(job.latents)(h), layers.Dense(job.latents)(h)
    vae = VAE(keras.Model(x, [mean, log_var, Sampling()([mean, log_var])]), keras.Model(z, g))
    vae.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE))
    data = job.data()[: job.images // job.batch * job.batch]
    options = {"batch_size": job.batch, "epochs": job.epochs, "verbose": 0}
    return {"keras.io style": lambda: vae.fit(data, **options).history["loss"][-1]}


if __name__ == "__main__":
    serve({"train": train})
