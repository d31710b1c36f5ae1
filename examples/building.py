"""The data and the model that the flags of `train.py` ask for."""

import contextlib
import dataclasses

from configuration import Config


def scope(distribute: str):
    """Where a model is made that trains on one device, on all of this machine, or on those of TF_CONFIG."""
    import tensorflow as tf

    if distribute == "none":
        return contextlib.nullcontext()
    names = {"mirrored": "MirroredStrategy", "multiworker": "MultiWorkerMirroredStrategy"}
    return getattr(tf.distribute, names[distribute])().scope()


def data_of(config: Config):
    """The data, and the configuration with the binarisation and the likelihood that fit them."""
    import kvae

    binarize, likelihood = config.binarize, config.likelihood
    if binarize == "auto":
        digits = config.dataset == "digits" and likelihood in ("auto", "bernoulli")
        binarize = "dynamic" if digits else "none"
    data = kvae.data.load(
        config.dataset,
        validation=config.validation,
        binarize=None if binarize == "none" else binarize,
        batch_size=config.batch_size,
        seed=config.seed,
        data_dir=config.data_dir,
        size=config.size,
        channels=config.channels,
        unreadable=config.unreadable,
    )
    if likelihood == "auto":
        unit = data.support.high == 1.0
        likelihood = "bernoulli" if data.support.binary else "continuous_bernoulli" if unit else "normal"
    elif likelihood == "bernoulli" and not data.support.binary:
        raise ValueError(
            f"The values of {data.name} are in {data.support.name}, but --likelihood=bernoulli explains 0 and 1. Add "
            "--binarize=dynamic to draw each pixel as 0 or 1, or leave --likelihood to the data."
        )
    return data, dataclasses.replace(config, binarize=binarize, likelihood=likelihood)


def model_of(config: Config, event_shape):
    """The compiled model; its networks have the policy of the flags."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.dtype_policy)
    try:
        return _model_of(config, event_shape)
    finally:
        keras.config.set_dtype_policy(before)


def _model_of(config: Config, event_shape):
    import keras

    import kvae

    if config.network == "mlp":
        networks = kvae.networks.mlp(
            event_shape, config.latent_dim, hidden=(200, 200) if config.hidden is None else config.hidden
        )
    elif config.network in ("conv", "resnet"):
        make = getattr(kvae.networks, config.network)
        networks = make(event_shape, config.latent_dim, filters=config.hidden or (32, 64))
    else:
        raise ValueError(f"--network is 'mlp', 'conv' or 'resnet', got {config.network!r}.")
    likelihood = config.likelihood
    if likelihood == "normal":
        likelihood = kvae.likelihoods.Normal(scale=_number_or_name(config.scale))
    elif likelihood == "continuous_bernoulli":
        likelihood = kvae.likelihoods.ContinuousBernoulli(clip=config.clip)
    forms = {"elbo": "auto", "elbo_monte_carlo": "monte_carlo"}
    if config.objective not in forms:
        raise ValueError(f"--objective is one of {sorted(forms)}, got {config.objective!r}.")
    beta = kvae.schedules.Linear(0.0, config.beta, config.warm_up) if config.warm_up else config.beta
    vae = kvae.VAE(
        *networks,
        posterior=config.posterior,
        likelihood=likelihood,
        objective=kvae.objectives.ELBO(kl=forms[config.objective], beta=beta, samples=config.samples),
        seed=config.seed,
    )
    vae.compile(optimizer=keras.optimizers.Adam(config.learning_rate))
    return vae


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
