"""JAX by hand: a compiled call per batch, or an epoch in one `lax.scan`; Adam by optax."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import LEARNING_RATE, PIXELS, RESIDUAL_DECODER, RESIDUAL_ENCODER, Job, repeated, serve


def initial(job: Job) -> dict:
    """Weights, Glorot uniform as in Keras, and zero biases."""
    random = np.random.default_rng(0)

    def layer(*shape):
        fields = int(np.prod(shape[:-2]))
        limit = np.sqrt(6.0 / (fields * (shape[-2] + shape[-1])))
        return jnp.asarray(random.uniform(-limit, limit, shape).astype("f")), jnp.zeros(shape[-1])

    def dense(sizes):
        return [layer(a, b) for a, b in itertools.pairwise(sizes)]

    if job.network == "conv":
        return {
            "encoder": [layer(3, 3, 1, 32), layer(3, 3, 32, 64), layer(7 * 7 * 64, 16), layer(16, 2 * job.latents)],
            "decoder": [layer(job.latents, 7 * 7 * 64), layer(3, 3, 64, 64), layer(3, 3, 64, 32), layer(3, 3, 32, 1)],
        }
    if job.network == "resnet":

        def block(channels, size, stride):
            narrow = size // 2
            layers = [layer(1, 1, channels, narrow), layer(3, 3, narrow, narrow), layer(1, 1, narrow, size)]
            return layers + [layer(1, 1, channels, size)] * (stride > 1 or channels != size)

        down, up = ([block(*sizes) for sizes in part] for part in (RESIDUAL_ENCODER, RESIDUAL_DECODER))
        return {
            "encoder": [layer(3, 3, 1, 32), *down, *dense([7 * 7 * 64, 128, 2 * job.latents])],
            "decoder": [*dense([job.latents, 128, 7 * 7 * 64]), *up, layer(1, 1, 32, 1)],
        }
    return {
        "encoder": dense([PIXELS, *job.hidden, 2 * job.latents]),
        "decoder": dense([job.latents, *reversed(job.hidden), PIXELS]),
    }


def convolved(x, layer, stride=1, up=False):
    """A convolution, transposed where `up`, with its bias."""
    kernel, bias = layer
    run = jax.lax.conv_transpose if up else jax.lax.conv_general_dilated
    return run(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias


def residual(h, weights, stride, up=False):
    """h + f(h), or a projection of h."""
    first, middle, last, *projection = weights
    up, relu = up and stride > 1, jax.nn.relu
    f = convolved(relu(convolved(relu(h), first)), middle, stride, up)
    for layer in projection:
        h = convolved(h, layer, stride, up)
    return h + convolved(relu(f), last)


def encode(job: Job, weights, x):
    """x `[B, *event_shape]` to mean and scale of q(z|x), `[B, latents]`."""
    activation = getattr(jax.nn, job.activation)
    if job.network == "conv":
        *convolutions, w1, w2 = weights
        for layer in convolutions:
            x = activation(convolved(x, layer, 2))
        x, dense = x.reshape(len(x), -1), (w1, w2)
    elif job.network == "resnet":
        stem, *blocks, w1, w2 = weights
        x = convolved(x, stem)
        for block, (_, _, stride) in zip(blocks, RESIDUAL_ENCODER, strict=True):
            x = residual(x, block, stride)
        x, dense = activation(x).reshape(len(x), -1), (w1, w2)
    else:
        dense = weights
    for w, b in dense[:-1]:
        x = activation(x @ w + b)
    mean, raw = jnp.split(x @ dense[-1][0] + dense[-1][1], 2, axis=-1)
    return mean, jax.nn.softplus(raw)


def decode(job: Job, weights, z):
    """z `[B, latents]` to logits `[B, *event_shape]`."""
    activation = getattr(jax.nn, job.activation)
    if job.network == "conv":
        (w, b), *convolutions = weights
        h = activation(z @ w + b).reshape(-1, 7, 7, 64)
        for layer in convolutions[:-1]:
            h = activation(convolved(h, layer, 2, up=True))
        return convolved(h, convolutions[-1], up=True)
    if job.network == "resnet":
        (w1, b1), (w2, b2), *blocks, last = weights
        h = (activation(z @ w1 + b1) @ w2 + b2).reshape(-1, 7, 7, 64)
        for block, (_, _, stride) in zip(blocks, RESIDUAL_DECODER, strict=True):
            h = residual(h, block, stride, up=True)
        return convolved(activation(h), last)
    for w, b in weights[:-1]:
        z = activation(z @ w + b)
    return z @ weights[-1][0] + weights[-1][1]


def loss(weights, x, key, job):
    """The negative ELBO of a batch, mean over images."""
    mean, scale = encode(job, weights["encoder"], x)
    z = mean + scale * jax.random.normal(key, (job.samples, *mean.shape))
    logits = decode(job, weights["decoder"], z.reshape(-1, job.latents)).reshape(job.samples, *x.shape)
    cross = optax.sigmoid_binary_cross_entropy(logits, x).reshape(job.samples, len(x), -1).sum(-1)
    kl = 0.5 * (scale**2 + mean**2 - 1.0 - 2.0 * jnp.log(scale)).sum(-1)
    return (cross.mean(0) + kl).mean()


def train(job: Job) -> dict:
    """Epochs in two modes, each with a model of its own."""
    names = {"JAX, a call per batch": False, "JAX, an epoch in one scan": True}
    if job.convolves:  # XLA's convolutions inside a loop are several times as slow again
        del names["JAX, an epoch in one scan"]
    return {name: repeated(trainer(job, whole_epoch), job.epochs) for name, whole_epoch in names.items()}


def trainer(job: Job, whole_epoch: bool):
    """A function that trains for one epoch and returns its mean loss."""
    optimizer = optax.adam(LEARNING_RATE)
    weights = initial(job)
    state = weights, optimizer.init(weights), jax.random.key(0)
    data = jnp.asarray(job.data())
    epochs = iter(range(10**9))

    def step(data, state, rows):
        weights, moments, key = state
        key, now = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss)(weights, data[rows], now, job)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(weights, updates), moments, key), value

    one = jax.jit(step, donate_argnums=1)

    @functools.partial(jax.jit, donate_argnums=1)
    def all_of(data, state, order):
        return jax.lax.scan(functools.partial(step, data), state, order)

    def epoch():
        nonlocal state
        order = job.order(next(epochs))
        if whole_epoch:
            state, losses = all_of(data, state, order)
        else:
            losses = []
            for rows in order:
                state, value = one(data, state, rows)
                losses.append(value)
        return jnp.mean(jnp.asarray(losses))

    return epoch


def likelihood(job: Job) -> dict:
    """log p(x) by importance sampling, an image at a time."""
    weights, data = initial(job), jnp.asarray(job.data())

    @jax.jit
    def score(x, key):
        mean, scale = encode(job, weights["encoder"], x[None])
        eps = jax.random.normal(key, (job.samples, job.latents))
        z = mean + scale * eps
        cross = optax.sigmoid_binary_cross_entropy(decode(job, weights["decoder"], z), x)
        log_ratio = (0.5 * (eps**2 - z**2) + jnp.log(scale)).sum(-1)
        return jax.nn.logsumexp(log_ratio - cross.reshape(job.samples, -1).sum(-1)) - jnp.log(job.samples)

    return {"JAX": lambda: np.mean([score(x, jax.random.key(i)) for i, x in enumerate(data)])}


def encoding(job: Job) -> dict:
    """Posterior means of all images in one call."""
    weights, data = initial(job)["encoder"], jnp.asarray(job.data())
    means = jax.jit(lambda data: encode(job, weights, data)[0])
    return {"JAX": lambda: np.asarray(means(data)).mean()}


def sample(job: Job) -> dict:
    """Means of p(x|z) for z from the prior, all in one call."""
    weights = initial(job)["decoder"]
    draw = jax.jit(lambda key: jax.nn.sigmoid(decode(job, weights, jax.random.normal(key, (job.images, job.latents)))))
    return {"JAX": lambda: np.asarray(draw(jax.random.key(0))).mean()}


if __name__ == "__main__":
    serve({"train": train, "likelihood": likelihood, "encode": encoding, "sample": sample})
