"""Arguments of networks, families, objectives, schedules and splits: numbers are taken, the rest is one sentence."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import likelihoods, networks, objectives, posteriors, priors, schedules
from kvae.data.splits import Split

NO_NUMBERS = ("0.1", None, math.nan, math.inf, True, [0.1], 1j)
NO_WHOLE_NUMBERS = ("3", math.nan, math.inf, True, 2.5, {}, 1j)
X = np.zeros((4, 3), np.float32)

NUMBERS = {
    "floor": [
        lambda v: likelihoods.Normal(floor=v),
        lambda v: likelihoods.StudentT(floor=v),
        lambda v: likelihoods.Beta(floor=v),
        lambda v: posteriors.DiagonalNormal(floor=v),
        lambda v: posteriors.FullNormal(floor=v),
        lambda v: posteriors.LowRankNormal(floor=v),
        lambda v: posteriors.Flow(floor=v),
        lambda v: priors.ConditionalNormal(floor=v),
        lambda v: priors.MixtureOfNormals(floor=v),
        lambda v: posteriors.TopDown(floor=v),
        lambda v: posteriors.Ladder(floor=v),
        lambda v: posteriors.BottomUp(floor=v),
        lambda v: priors.Hierarchical(floor=v),
    ],
    "cap": [
        lambda v: likelihoods.Beta(cap=v),
        lambda v: posteriors.DiagonalNormal(cap=v),
        lambda v: priors.ConditionalNormal(cap=v),
    ],
    "momentum": [lambda v: likelihoods.Normal(momentum=v)],
    "scale": [lambda v: likelihoods.Normal(scale=v), lambda v: Split(X, scale=v)],
    "clip": [lambda v: likelihoods.ContinuousBernoulli(clip=v)],
    "beta": [
        lambda v: objectives.ELBO(beta=v),
        lambda v: objectives.TotalCorrelation(v),
        lambda v: objectives.MMD(beta=v),
    ],
    "capacity": [lambda v: objectives.Capacity(v)],
    "alpha": [lambda v: objectives.TotalCorrelation(alpha=v)],
    "gamma": [lambda v: objectives.TotalCorrelation(gamma=v), lambda v: objectives.Capacity(gamma=v)],
    "weight": [lambda v: objectives.MMD(v)],
    "bandwidths": [lambda v: objectives.MMD(bandwidths=[v])],
    "free_bits": [lambda v: objectives.ELBO(free_bits=v)],
    "start": [lambda v: schedules.Linear(start=v), lambda v: schedules.Cyclical(start=v)],
    "end": [lambda v: schedules.Linear(end=v), lambda v: schedules.Cyclical(end=v)],
    "rising": [lambda v: schedules.Cyclical(rising=v)],
    "dropout": [lambda v: networks.resnet((4, 4, 1), 2, dropout=v)],
    "validation": [lambda v: kvae.data.from_arrays(X, validation=v)],
}
WHOLE_NUMBERS = {
    "latent_dim": [lambda v: networks.mlp((4,), v), lambda v: networks.conv((4, 4, 1), v)],
    "components": [lambda v: priors.MixtureOfNormals(v), lambda v: priors.VampPrior(v)],
    "hidden": [
        lambda v: networks.mlp((4,), 2, hidden=v),
        lambda v: networks.mlp((4,), 2, hidden=[v]),
        lambda v: posteriors.Flow(hidden=v),
        lambda v: priors.Flow(hidden=v),
        lambda v: posteriors.TopDown(hidden=v),
        lambda v: posteriors.BottomUp(hidden=(8, v)),
        lambda v: priors.Hierarchical(hidden=v),
    ],
    "rank": [lambda v: posteriors.LowRankNormal(v)],
    "layers": [lambda v: posteriors.Flow(layers=v), lambda v: priors.Flow(layers=v)],
    "bins": [lambda v: posteriors.Flow(bins=v), lambda v: priors.Flow(bins=v)],
    "context": [lambda v: posteriors.Flow(context=v)],
    "groups": [
        lambda v: objectives.IWAE(groups=v),
        lambda v: posteriors.TopDown(groups=v),
        lambda v: posteriors.Ladder(groups=(v, 2)),
        lambda v: posteriors.BottomUp(groups=v),
        lambda v: priors.Hierarchical(groups=v),
    ],
    "size": [lambda v: networks.FirstGroup(v)],
    "filters": [lambda v: networks.conv((4, 4, 1), 2, filters=v), lambda v: networks.resnet((4,), 2, filters=(v,))],
    "kernel_size": [
        lambda v: networks.conv((4, 4, 1), 2, kernel_size=v),
        lambda v: networks.resnet((4, 4, 1), 2, kernel_size=v),
        lambda v: likelihoods.Bernoulli(kernel_size=v),
    ],
    "dense": [lambda v: networks.conv((4, 4, 1), 2, dense=v), lambda v: networks.resnet((4, 4, 1), 2, dense=v)],
    "blocks": [lambda v: networks.resnet((4, 4, 1), 2, blocks=v)],
    "bottleneck": [lambda v: networks.resnet((4, 4, 1), 2, bottleneck=v)],
    "event_shape": [lambda v: networks.mlp((v,), 2), lambda v: networks.mlp(v, 2)],
    "condition": [lambda v: networks.mlp((4,), 2, condition=v), lambda v: networks.mlp((4,), 2, condition=(v,))],
    "samples": [lambda v: objectives.ELBO(samples=v), lambda v: objectives.IWAE(samples=v)],
    "dataset_size": [lambda v: objectives.TotalCorrelation(dataset_size=v)],
    "steps": [lambda v: schedules.Linear(steps=v), lambda v: schedules.Cyclical(steps=v)],
    "cycles": [lambda v: schedules.Cyclical(cycles=v)],
    "batch_size": [
        lambda v: Split(X, batch_size=v),
        lambda v: Split(X).dataset(batch_size=v),
        lambda v: kvae.data.from_arrays(X, validation=0, batch_size=v),
    ],
    "seed": [
        lambda v: Split(X, seed=v),
        lambda v: Split(X).order(v, 0),
        lambda v: kvae.data.from_arrays(X, validation=0, seed=v),
    ],
    "epoch": [lambda v: Split(X).order(0, v), lambda v: Split(X).dataset(epoch=v)],
    "n": [lambda v: Split(X).first(v)],
    "levels": [lambda v: kvae.data.from_arrays(X, validation=0, levels=v)],
}
FLAGS = {
    "residual": [lambda v: posteriors.TopDown(residual=v)],
    "project": [
        lambda v: posteriors.DiagonalNormal(project=v),
        lambda v: posteriors.Deterministic(project=v),
        lambda v: posteriors.Ladder(project=v),
        lambda v: likelihoods.Bernoulli(project=v),
    ],
    "learned_weights": [lambda v: priors.VampPrior(learned_weights=v)],
    "mask": [lambda v: networks.mlp((4,), 2, mask=v), lambda v: networks.conv((4,), 2, mask=v)],
    "conditional": [lambda v: priors.Flow(conditional=v)],
    "skips": [lambda v: networks.resnet((4,), 2, skips=v)],
    "dynamic": [lambda v: Split(X, dynamic=v)],
    "shuffle": [lambda v: Split(X).dataset(shuffle=v)],
    "dequantize": [lambda v: kvae.data.from_arrays(X, validation=0, dequantize=v)],
}


def rows(table):
    return [pytest.param(name, make, id=f"{name}_{i}") for name, makes in table.items() for i, make in enumerate(makes)]


@pytest.mark.parametrize("name, make", rows(NUMBERS))
def test_what_is_no_number(name, make):
    for value in NO_NUMBERS:
        if value is None and name == "clip":
            continue  # no clipping
        with pytest.raises(ValueError, match=f"{name}.*, got ") as error:
            make(value)
        assert len(str(error.value)) < 160


@pytest.mark.parametrize("name, make", rows(WHOLE_NUMBERS))
def test_what_is_no_whole_number(name, make):
    for value in NO_WHOLE_NUMBERS:
        with pytest.raises(ValueError, match=f"{name}.*, got ") as error:
            make(value)
        assert len(str(error.value)) < 160


@pytest.mark.parametrize("name, make", rows(FLAGS))
def test_what_is_no_flag(name, make):
    for value in ("yes", None, 1, 0, []):
        with pytest.raises(ValueError, match=f"{name} must be True or False, got"):
            make(value)


def test_numpy_numbers_are_numbers():
    i, f = np.int64, np.float32
    encoder, decoder = networks.conv(
        np.array([6, 5, 1]), i(2), filters=np.array([3, 4]), kernel_size=np.array([3, 3]), dense=i(6), condition=i(10)
    )
    assert encoder.input_shape == [(None, 6, 5, 1), (None, 10)] and decoder.input_shape == [(None, 2), (None, 10)]
    assert encoder.get_layer("conv_2").kernel.shape == (3, 3, 3, 4)
    encoder, _ = networks.resnet(
        (i(8),), 2, filters=[i(4)], blocks=i(0), bottleneck=np.uint8(2), dense=i(6), dropout=f(0.25)
    )
    assert encoder.output_shape == (None, 6)
    encoder, _ = networks.mlp([i(6)], 2, hidden=np.array([3, 4]))
    assert [layer.units for layer in encoder.layers if hasattr(layer, "units")] == [3, 4]
    config = encoder.get_config()  # Python's own numbers: what Keras writes down can be read
    assert keras.Model.from_config(config).count_params() == 6 * 3 + 3 + 3 * 4 + 4
    assert likelihoods.Normal(scale=f(0.5), momentum=f(0.5), floor=np.float64(0.25)).get_config()["scale"] == 0.5
    assert likelihoods.Normal(scale=np.array(0.5)).scale == likelihoods.Normal(scale=tf.constant(0.5)).scale == 0.5
    assert objectives.ELBO(beta=i(2), samples=i(3), free_bits=f(0.5)).get_config() == {
        "kl": "auto", "beta": 2.0, "samples": 3, "free_bits": 0.5, "gradient": "plain",
    }  # fmt: skip
    split = Split(X, scale=f(0.5), batch_size=i(2), seed=np.uint32(7))
    assert (split.scale, split.batch_size, split.seed) == (0.5, 2, 7) and len(split.first(i(2))) == 2
    assert [len(batch) for batch in split.dataset(batch_size=i(3), epoch=i(1))] == [3, 1]


def test_one_number_is_a_sequence_of_one():
    encoder, decoder = networks.mlp((4,), 2, hidden=7)
    assert (encoder.output_shape, decoder.output_shape) == ((None, 7), (None, 7))
    encoder, decoder = networks.conv((4, 4, 1), 2, filters=5, kernel_size=(3, 3))
    assert encoder.get_layer("conv_1").kernel.shape == (3, 3, 1, 5) and decoder.output_shape == (None, 4, 4, 5)
    assert likelihoods.Bernoulli(kernel_size=(3, 3)).kernel_size == 3
    for make in (lambda k: networks.conv((4, 4, 1), 2, kernel_size=k), lambda k: likelihoods.Bernoulli(kernel_size=k)):
        for value in ((3, 5), ()):
            with pytest.raises(ValueError, match=r"kernel_size must be one size for all axes, such as 3 or \(3, 3\)"):
                make(value)


def test_event_shape_is_a_tuple():
    for value in (4, np.int64(4), np.array(4)):
        with pytest.raises(ValueError, match=r"event_shape is a tuple, such as \(4,\), got the number 4"):
            networks.mlp(value, 2)
    for value in (None, "4", b"4"):
        with pytest.raises(ValueError, match="event_shape must be whole numbers"):
            networks.mlp(value, 2)
    with pytest.raises(ValueError, match=r"condition must be the number of classes.*got \(\)"):
        networks.mlp((4,), 2, condition=())


def test_names():
    for make in (
        likelihoods.Normal, likelihoods.Bernoulli, posteriors.DiagonalNormal, priors.StandardNormal,
        lambda name: kvae.VAE(*networks.mlp((4,), 2), name=name),
    ):  # fmt: skip
        for value in (0, "a/b", ["a"], X):
            with pytest.raises(ValueError, match="name must be text without '/', or None, got"):
                make(name=value)
        assert make(name="a").name == "a"


def test_parts_that_are_none():
    for part in ("posterior", "likelihood", "prior", "objective"):
        for value in (0, X, {"a": X}, None, "normals"):
            with pytest.raises(ValueError, match=f"{part}=.* is not known. Names are "):
                kvae.VAE(*networks.mlp((4,), 2), **{part: value})


def test_rows_of_a_split():
    split = Split(np.arange(12.0).reshape(4, 3), columns=["a", "b", "c"])
    for rows in ([0, -1], np.array([True, False, False, True]), slice(0, None, 3), (0, 3), np.uint8([0, 3])):
        assert split.part(rows).x[:, 0].tolist() == [0.0, 9.0] and split.part(rows).columns == ("a", "b", "c")
    for rows in ([4], [-5], [0.0], [True], X, "0", 1, None, slice("a"), [[0], [1, 2]]):
        with pytest.raises(ValueError, match="rows "):
            split.part(rows)
    for name, make in {
        "columns": lambda v: Split(X, columns=v),
        "classes": lambda v: kvae.data.from_arrays(X, validation=0, classes=v),
        "skipped": lambda v: kvae.data.from_arrays(X, validation=0, skipped=v),
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be a list, got 3"):
            make(3)
    with pytest.raises(ValueError, match="name must be text, such as 'digits', got 3"):
        kvae.data.from_arrays(X, validation=0, name=3)


def test_activations():
    for make in (networks.mlp, networks.conv, networks.resnet):
        for value in ("rleu", 3, ["relu"], ""):
            with pytest.raises(ValueError, match=r"activation must be a name that Keras knows.*, got "):
                make((8,), 2, activation=value)
    encoder, _ = networks.mlp((8,), 2, activation=keras.activations.gelu)
    assert encoder.get_layer("hidden_1").activation is keras.activations.gelu


@pytest.mark.parametrize("shape, warns", [
    ((28, 28), True), ((32, 24), True), ((64, 32), True), ((8, 8), True),
    ((7, 7), False), ((100, 9), False), ((500, 64), False), ((65, 32), False), ((12, 3), False), ((28, 28, 1), False),
    ((28,), False),
])  # fmt: skip
def test_images_without_channels(shape, warns):
    for make in (networks.conv, networks.resnet):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(shape, 2, filters=2, dense=2)
        assert bool(caught) is warns
        for one in caught:
            assert f"event_shape=({shape[0]}, {shape[1]}, 1), and x[..., None]" in str(one.message)
            assert one.filename == __file__


class Falling:
    """As Keras' schedules are: a callable with `get_config`. 1 - t / 1000."""

    def __call__(self, step):
        return 1.0 - tf.cast(step, tf.float32) / 1000.0

    def get_config(self):
        return {}


@pytest.mark.parametrize("beta, step", [
    (schedules.Linear(start=-1.0), 0),
    (schedules.Linear(0.0, -0.5, 8), 8),
    (schedules.Cyclical(1.0, -1.0, 12), 12),
    (keras.optimizers.schedules.PolynomialDecay(1.0, 50, end_learning_rate=-1.0), 50),
    (keras.optimizers.schedules.PiecewiseConstantDecay([100], [1.0, -1.0]), 10**6),
    (Falling(), 10**6),
    (lambda step: -1.0, 0),
    (lambda step: math.nan, 0),
    (lambda step: tf.math.log(tf.cast(step, tf.float32)), 0),
    (lambda step: None, 0),
    (schedules.Linear, 0),
])  # fmt: skip
def test_schedules_that_leave_the_weights(beta, step):
    with pytest.raises(ValueError, match=rf"schedule of finite weights >= 0, but .* at step {step}\. Keep it"):
        objectives.ELBO(beta=beta)


def test_schedules_within_the_weights():
    table = tf.constant([0.0, 0.5, 1.0])
    for beta, weight in (
        (schedules.Linear(), 0.001),
        (keras.optimizers.schedules.CosineDecay(0.0, 100, warmup_target=1.0, warmup_steps=10), 0.1),
        (lambda step: min(1.0, float(step) / 10), 0.1),
        (lambda step: tf.gather(table, step), 0.5),  # fails after its end
    ):
        np.testing.assert_allclose(objectives.ELBO(beta=beta).beta(tf.constant(1, tf.int64)), weight, rtol=1e-5)
    assert float(schedules.Linear(-1.0, 1.0, 4)(1)) == -0.5  # a schedule of something else than beta

    @tf.function
    def made_in_a_graph():
        return objectives.ELBO(beta=schedules.Linear(0.0, 1.0, 4)).beta(tf.constant(1, tf.int64))

    assert float(made_in_a_graph()) == 0.25
