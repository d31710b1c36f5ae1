"""Codes by the nearest codeword: vector quantisation."""

import keras
import tensorflow as tf

from kvae.numerics import noise, replicas
from kvae.numerics.arguments import number, whole
from kvae.numerics.codes import inverse, nearest, straight_through
from kvae.posteriors.codes import CodePosterior

_SPREAD = 0.01  # of a new codeword's size: two that come from one example differ


@keras.saving.register_keras_serializable("kvae")
class VectorQuantized(CodePosterior):
    """Vector quantisation: q(z|x) is a point mass at the nearest codewords.

    z_m = e_k,   k = argmin_j |u_m - e_j|^2   at each position m, u_m the `dim` numbers of the encoder there

    The gradient of z passes to u as it is, and none to the codewords. These are means of what the encoder has put out
    for them, moved in each training step: with the batch's count n_k (the sum of the examples' weights) and sum s_k,

    N_k <- decay N_k + (1 - decay) n_k,   e_k <- e_k + (1 - decay) (s_k - n_k e_k) / N_k

    which is the exponential moving average of the sums over that of the counts. A codeword without examples stays where
    it is, so that no counts need smoothing. decay = 0 is a step of k-means on the batch.

    The loss, and not the ELBO, contains commitment * sum_m |u_m - e_k|^2, summed over positions and their numbers as
    log p(x|z) is over the event. (Elsewhere it is often a mean. Such a commitment is D times as strong here.)

    A codeword is dead when N_k falls below `restart` times an even share, sum(N) / K. It is then replaced by an output
    of the encoder for an example of the batch, chosen by Philox noise keyed by the number of the update, and begins
    with an even share. The first training step replaces all codewords in this way. So training is repeatable, and
    continues exactly from a file. Quantisation is in float32, or float64 under such a policy. Of equally near codewords
    the first is taken.

    Args:
        codes: K, the number of codewords, at least 2.
        dim: numbers of a codeword; the number of latent dimensions must be a multiple.
        decay: of the averages, from 0 to less than 1.
        commitment: the weight of the commitment loss, at least 0.
        restart: the part of an even share, from 0 (no codeword is replaced after the first step) to less than 1.
        project, name, dtype: see `kvae.posteriors.CodePosterior`; with project=False the encoder puts out u.

    References: van den Oord, Vinyals, Kavukcuoglu (2017), Neural discrete representation learning, arXiv 1711.00937.
    Dhariwal et al. (2020), Jukebox, arXiv 2005.00341, for the restarts.
    """

    has_own_weights = True

    def __init__(
        self,
        codes: int = 512,
        dim: int = 16,
        decay: float = 0.99,
        commitment: float = 0.25,
        restart: float = 0.01,
        project: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, name=name, dtype=dtype)
        self.codes, self.dim = whole("codes", codes, 2), whole("dim", dim, 1)
        self.decay = number("decay", decay, least=0.0, below=1.0)
        self.commitment = number("commitment", commitment, least=0.0)
        self.restart = number("restart", restart, least=0.0, below=1.0)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"codes": self.codes, "dim": self.dim, "decay": self.decay}
        return super().get_config() | own | {"commitment": self.commitment, "restart": self.restart}

    def build(self, feature_shape, latent_dim):
        """Make the projection, the codewords `[K, dim]`, their average counts `[K]` and the number of updates."""
        super().build(feature_shape, latent_dim)
        options = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        shape = (self.codes, self.dim)
        self.codebook = self.add_weight(name="codebook", shape=shape, initializer="random_normal", **options)
        self.counts = self.add_weight(name="counts", shape=shape[:1], initializer="zeros", **options)
        self.updates = self.add_weight(name="updates", shape=(), initializer="zeros", dtype="int64", **options)

    def _quantised(self, parameters):
        x = tf.stop_gradient(tf.reshape(parameters, [-1, self.dim]))
        codebook = tf.convert_to_tensor(self.codebook)
        indices = nearest(x, codebook)
        fine = tf.reduce_all(tf.math.is_finite(x), axis=-1, keepdims=True)
        code = tf.where(fine, tf.gather(codebook, indices), tf.constant(float("nan"), x.dtype))
        code = straight_through(tf.reshape(code, tf.shape(parameters)), parameters)
        return code, tf.reshape(indices, [-1, self.positions])

    def index(self, z):
        """The numbers of the codewords nearest to z `[..., D]`, int32 `[..., M]`."""
        indices = nearest(tf.reshape(z, [-1, self.dim]), tf.convert_to_tensor(self.codebook))
        return tf.reshape(indices, tf.concat([tf.shape(z)[:-1], [self.positions]], axis=0))

    def code(self, indices):
        """The z `[..., D]` of indices `[..., M]`, whole numbers from 0 to K - 1."""
        code = tf.gather(tf.convert_to_tensor(self.codebook), indices)
        return tf.reshape(code, tf.concat([tf.shape(indices)[:-1], [self.latent_dim]], axis=0))

    def penalty(self, q):
        """The commitment loss, `[B]`."""
        if not self.commitment:
            return None
        return self.commitment * tf.reduce_sum(tf.square(q.inputs - tf.stop_gradient(q.code)), axis=-1)

    def update(self, q, weight) -> None:
        """Move the codewords to what the encoder has put out for them, and replace those that are dead."""
        fine = tf.reduce_all(tf.math.is_finite(q.inputs), axis=-1)
        weight = tf.where(fine, tf.cast(weight, q.dtype), tf.zeros([], q.dtype))
        x = tf.where(fine[:, None], tf.stop_gradient(q.inputs), tf.zeros([], q.dtype))
        x = tf.reshape(x, [-1, self.positions, self.dim])
        each = tf.reshape(tf.repeat(weight[:, None], self.positions, axis=1), [-1, 1])
        numbers = tf.reshape(q.indices, [-1])
        rows = tf.concat([each, each * tf.reshape(x, [-1, self.dim])], axis=1)
        sums = replicas.total(tf.math.unsorted_segment_sum(rows, numbers, self.codes))
        new, sums = sums[:, 0], sums[:, 1:]
        before = tf.convert_to_tensor(self.codebook)
        counts = self.decay * self.counts + (1.0 - self.decay) * new
        step = (1.0 - self.decay) * (sums - new[:, None] * before)
        codebook = before + tf.math.divide_no_nan(step, counts[:, None])
        share = tf.reduce_mean(counts)
        dead = (counts < self.restart * share) | (self.updates == 0)
        codebook = tf.where(dead[:, None], self._outputs(replicas.gathered(x), replicas.gathered(weight)), codebook)
        counts = tf.where(dead, share, counts)
        counted = tf.reduce_sum(new) > 0.0
        self.codebook.assign(tf.where(counted, codebook, before))
        self.counts.assign(tf.where(counted, counts, self.counts))
        self.updates.assign_add(tf.cast(counted, tf.int64))

    def _outputs(self, x, weight):
        """For each code one of the outputs x `[B, M, dim]`, of an example by its weight `[B]`: `[K, dim]`."""
        stream = noise.CODEWORDS - tf.convert_to_tensor(self.updates)
        uniform = noise.uniform(0, stream, 0, self.codes, 3, x.dtype)
        example = inverse(tf.repeat(weight[None], self.codes, axis=0), uniform[:, 0] * tf.reduce_sum(weight))
        place = tf.cast(uniform[:, 1] * self.positions, tf.int32)
        chosen = tf.gather_nd(x, tf.stack([example, place], axis=1))
        return chosen * (1.0 + _SPREAD * (uniform[:, 2:] - 0.5))
