"""A prior fitted to the codes of a model, and put in the place of the one that it had."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.data import conditions, inputs
from kvae.data.splits import Split
from kvae.models import resolve
from kvae.models.importance import ImportanceSampler
from kvae.models.part_checks import check_parts
from kvae.numerics import noise, replicas
from kvae.numerics.chunks import ROWS, even_chunk_size
from kvae.numerics.compilation import compiled, prefers_xla

_FEWEST, _HELD_OUT = 20, 100  # codes of which some are held out: a tenth, or up to a quarter to be so many
_LOOKS = 40  # at the held-out codes
_FLOATS_AT_A_TIME = 4_000_000  # of the density of codes that are judged at once


class PriorFit(NamedTuple):
    """What `vae.fit_prior` gained, in nats.

    Attributes:
        before, after: the mean of log p(z), z ~ q(z|x), under the old prior and under the new one.
        gain: after - before; by so much the ELBO rises.
        standard_error: of the gain, over the examples.
        history: the mean of log p(z) over the batch of each step, `[steps]`; empty for a prior that is fitted at once.
        best_step: the number of steps after which the weights are kept, those of the largest mean of log p(z) over the
            codes held out; 0 for a prior that is fitted at once.
    """

    before: float
    after: float
    gain: float
    standard_error: float
    history: np.ndarray
    best_step: int


def fit_prior(vae, data, prior, validation_data, steps, batch_size, learning_rate, samples, seed) -> PriorFit:
    """See `kvae.VAE.fit_prior`; the arguments are checked. After an error the model is as it was."""
    old, new = vae.prior, vae.prior if prior is None else resolve.prior(prior)
    if new is old and not new.trainable_variables:
        raise ValueError(
            f"{type(old).__name__} has no weights to fit. Give another prior, for example "
            "prior=kvae.priors.MixtureOfNormals(20)."
        )
    if vae.posterior.relative and (old.group_sizes or new.group_sizes):
        raise ValueError(
            f"{type(vae.posterior).__name__} draws z relative to a prior in groups, so that the codes would move with "
            f"the prior. Train {type(new).__name__} together with the networks, by fit."
        )
    conditions.shape_of(vae.encoder, vae.decoder, new)
    data = inputs.repeatable(data)
    codes, start = Codes(vae, data, seed), [weight.numpy() for weight in new.weights]
    samples = samples if vae.posterior.noise_size or codes.dynamic else 1  # otherwise all draws are equal
    held_out = judged = codes if validation_data is None else Codes(vae, validation_data, seed)
    kept, others = np.zeros(0, int), np.arange(len(codes))
    if validation_data is None and len(codes) >= _FEWEST:
        most = max(len(codes) // 10, min(_HELD_OUT, len(codes) // 4))
        kept, others = np.split(np.random.default_rng(seed).permutation(len(codes)), [most])
        held_out = codes.part(kept)
    before = judged.log_prob(old, samples)
    if new is not old:
        resolve.build_prior(new, vae)
    try:
        _put(vae, new)
        check_parts(vae)
        if new is not old:
            new.adapt(lambda n: vae.random_examples(data, n, seed, kept))
        history, best = np.zeros(0), 0
        if new.trainable_variables and not new.fit_codes(codes.draws(samples), seed):
            shown = codes.part(others)
            if new is not old:
                new.begin_at(shown.draws(samples))
            history, best = _fitted(shown, held_out, new, steps, batch_size, learning_rate, samples, seed)
        after = judged.log_prob(new, samples)
        if not (np.isfinite(after).all() and np.isfinite(history).all()):
            raise FloatingPointError(
                f"log p(z) under the fitted {type(new).__name__} is not finite. Give a smaller learning_rate; the "
                "model keeps its prior."
            )
    except BaseException:
        if new is old:
            for weight, value in zip(new.weights, start, strict=True):
                weight.assign(value)
        else:
            _put(vae, old)
            new.taken = False
        raise
    if new is not old:
        old.taken = False
        vae.recompile(old.weights, new.weights)
    gain = after - before
    error = gain.std(ddof=1) / math.sqrt(len(gain)) if len(gain) > 1 else math.nan
    return PriorFit(float(before.mean()), float(after.mean()), float(gain.mean()), float(error), history, best)


def _put(vae, prior) -> None:
    """The prior in the model's place for it."""
    vae._tracker.untrack(vae.prior)
    vae.prior = prior
    vae.posterior.pair(prior)
    vae.renew()


class Codes:
    """The codes z ~ q(z|x) of a data set, with other draws for each number of a draw.

    Examples that are binarised anew for every batch are so for every draw, too: the codes are those that training sees.

    Args:
        vae: a `kvae.VAE`.
        data: an array, a split, or a finite dataset.
        seed: of the draws; draw number d of example i is a function of (seed, d, i).

    Attributes:
        dynamic: the split whose examples are binarised anew, or None.
    """

    def __init__(self, vae, data, seed: int):
        self.vae, self.seed = vae, seed
        self.dynamic = data if isinstance(data, Split) and data.dynamic else None
        self.parameters, self.conditions = self._encoded(data)
        self._some = compiled(self._draw, jit=False)

    def _encoded(self, data) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The parameters of q(z|x) of all examples, and their conditions."""
        batches, parameters = zip(*ImportanceSampler.of(self.vae).encoded(data), strict=True)
        conditional = self.vae.condition_shape is not None
        found = tf.concat([batch.condition for batch in batches], axis=0) if conditional else None
        return tf.concat(parameters, axis=0), found

    def __len__(self):
        return self.parameters.shape[0]

    def part(self, rows) -> "Codes":
        """Those of some examples."""
        found = copy.copy(self)
        found.parameters = tf.gather(self.parameters, rows)
        found.conditions = None if self.conditions is None else tf.gather(self.conditions, rows)
        found.dynamic = None if self.dynamic is None else self.dynamic.part(rows)
        return found

    def draws(self, samples: int) -> np.ndarray:
        """The first draws of each code, `[samples * N, D]`."""
        return np.concatenate([self.draw(number) for number in range(samples)])

    def draw(self, number: int) -> tf.Tensor:
        """Draw number `number` of each code, `[N, D]`."""
        stream, parameters = tf.constant(noise.FITTING - number, tf.int64), self.parameters
        if self.dynamic is not None:
            x = self.dynamic.preparation(self.dynamic.array[:], 0, stream).numpy()
            parameters, _ = self._encoded(self.dynamic.replace(array=x, scale=1.0, dynamic=False))
        parts = [(parameters[i : i + ROWS], stream, tf.constant(i)) for i in range(0, len(self), ROWS)]
        return tf.concat([self._some(*part) for part in parts], axis=0)

    def _draw(self, parameters, stream, first):
        posterior = self.vae.posterior
        size, dtype = posterior.noise_size, posterior.compute_dtype
        eps = noise.normal(self.seed, stream, first, tf.shape(parameters)[0], size, dtype)
        return posterior.draw(posterior.of(parameters), eps[None])[0]

    def log_prob(self, prior, samples: int) -> np.ndarray:
        """The mean of log p(z) over `samples` draws of each code that no prior is fitted to, float64 `[N]`."""
        return self.judge(prior, samples)()

    def judge(self, prior, samples: int) -> Callable[[], np.ndarray]:
        """`log_prob` as a function that is compiled once."""
        density = compiled(lambda z, c: self.density(prior, z, c), jit=False)
        size = even_chunk_size(len(self), max(1, _FLOATS_AT_A_TIME // prior.widest))

        def judged():
            total = np.zeros(len(self))
            for number in range(_JUDGED, _JUDGED + samples):
                z = self.draw(number)
                for rows in (slice(i, i + size) for i in range(0, len(self), size)):
                    total[rows] += density(z[rows], None if self.conditions is None else self.conditions[rows]).numpy()
            return total / samples

        return judged

    def density(self, prior, z, condition):
        """log p(z) of a batch, `[B]`."""
        return prior.distribution(self.vae._encode_seen, condition).log_prob(z)


_JUDGED = 2**32  # the numbers of draws by which a prior is judged begin here


def _fitted(
    codes: Codes, held_out: Codes, prior, steps, batch_size, learning_rate, samples, seed
) -> tuple[np.ndarray, int]:
    """Fit a prior by so many steps: the history, and the step whose weights are kept, the best on what is held out."""
    best = _Best(prior, held_out, samples)
    batch_size = min(batch_size, len(codes))
    batches = len(codes) // batch_size
    passes = -(-steps // batches)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, passes * batches)
    optimizer, weights = keras.optimizers.Adam(rate), prior.trainable_variables
    optimizer.build(weights)

    def over(z, conditions, rows):
        def body(i, found):
            condition = None if conditions is None else tf.gather(conditions, rows[i])
            with tf.GradientTape() as tape:
                mean = tf.reduce_mean(codes.density(prior, tf.gather(z, rows[i]), condition))
                loss = -mean
            replicas.update(optimizer, tape.gradient(loss, weights), weights)
            return i + 1, found.write(i, mean)

        found = tf.TensorArray(prior.compute_dtype, batches)
        return tf.while_loop(lambda i, _: i < batches, body, [0, found], parallel_iterations=1)[1].stack()

    over, history = compiled(over, jit=prefers_xla(codes.vae.encoder)), []
    looks = {round(look) for look in np.linspace(passes / min(passes, _LOOKS), passes, min(passes, _LOOKS))}
    for number in range(passes):
        rows = np.random.default_rng([seed, number]).permutation(len(codes))[: batches * batch_size]
        rows = tf.constant(rows.reshape(batches, batch_size), tf.int32)
        history.append(over(codes.draw(number), codes.conditions, rows).numpy())
        if number + 1 in looks:
            best.look((number + 1) * batches)
    best.restore()
    return np.concatenate(history), best.step


class _Best:
    """The weights of a prior with the largest mean of log p(z) over codes that it is not fitted to."""

    def __init__(self, prior, codes: Codes, samples: int):
        self.prior, self.judge = prior, codes.judge(prior, samples)
        self.value, self.step, self.weights = -math.inf, 0, [weight.numpy() for weight in prior.weights]
        self.look(0)

    def look(self, step: int) -> None:
        """Keep the weights if they are the best so far."""
        value = self.judge().mean()
        if value > self.value:
            self.value, self.step = value, step
            self.weights = [weight.numpy() for weight in self.prior.weights]

    def restore(self) -> None:
        """Put the best weights back: those of the start where no mean was finite."""
        for weight, value in zip(self.prior.weights, self.weights, strict=True):
            weight.assign(value)
