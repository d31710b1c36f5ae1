"""kvae: arrays straight into `fit`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from common import LEARNING_RATE, Job, serve

import kvae

layers = keras.layers


def model(job: Job, to_logits: bool = False) -> kvae.VAE:
    """The VAE of a job, compiled; `to_logits`: the last convolution is in the decoder, not in the likelihood."""
    keras.utils.set_random_seed(0)
    likelihood = kvae.likelihoods.Bernoulli()
    if job.network == "conv":
        options = {"strides": 2, "padding": "same", "activation": "relu"}
        down = [layers.Conv2D(32, 3, **options), layers.Conv2D(64, 3, **options), layers.Flatten()]
        encoder = keras.Sequential([keras.Input(job.event_shape), *down, layers.Dense(16, "relu")])
        up = [layers.Conv2DTranspose(64, 3, **options), layers.Conv2DTranspose(32, 3, **options)]
        grow = [layers.Dense(7 * 7 * 64, "relu"), layers.Reshape((7, 7, 64))]
        decoder = keras.Sequential([keras.Input((job.latents,)), *grow, *up])
        likelihood = kvae.likelihoods.Bernoulli(kernel_size=3)
        if to_logits:
            decoder.add(layers.Conv2DTranspose(1, 3, padding="same"))
            likelihood = kvae.likelihoods.Bernoulli(project=False)
    elif job.network == "resnet":
        encoder, decoder = kvae.networks.resnet(job.event_shape, job.latents)
    else:
        options = {"hidden": job.hidden, "activation": job.activation}
        encoder, decoder = kvae.networks.mlp(job.event_shape, job.latents, **options)
    vae = kvae.VAE(encoder, decoder, likelihood=likelihood, objective=kvae.objectives.ELBO(samples=job.samples))
    vae.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE))
    return vae


def train(job: Job) -> dict:
    """Epochs by `fit`, on the array."""
    x = job.data()[: job.images // job.batch * job.batch]

    def program(vae):
        return lambda: vae.fit(x, batch_size=job.batch, epochs=job.epochs, verbose=0).history["loss"][-1]

    programs = {"kvae": program(model(job))}
    if job.network == "conv":
        programs["kvae, decoder to the logits"] = program(model(job, to_logits=True))
    return programs


def likelihood(job: Job) -> dict:
    """log p(x) by importance sampling."""
    vae, x = model(job), job.data()
    return {"kvae": lambda: kvae.evaluate.log_likelihood(vae, x, samples=job.samples).mean}


def encode(job: Job) -> dict:
    """Posterior means of all images."""
    vae, x = model(job), job.data()
    return {"kvae": lambda: vae.encode(x).mean().numpy().mean()}


def sample(job: Job) -> dict:
    """Means of p(x|z) for z from the prior."""
    vae = model(job)
    return {"kvae": lambda: vae.sample(job.images, seed=0).numpy().mean()}


if __name__ == "__main__":
    serve({"train": train, "likelihood": likelihood, "encode": encode, "sample": sample})
