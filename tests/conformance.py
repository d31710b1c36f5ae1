"""The table: every family, objective and network, and how to build it. To add one, add a row."""

import contextlib
import functools
import os
from unittest import mock

import keras
import numpy as np
import pytest

import kvae
from kvae.training import compiling

LATENT = 3

CODES = {
    "finite_scalar": lambda **kw: kvae.posteriors.FiniteScalar(**{"levels": (5,)} | kw),
    "vector_quantized": lambda **kw: kvae.posteriors.VectorQuantized(**{"codes": 7, "dim": 1} | kw),
}
POSTERIORS = {
    "diagonal_normal": kvae.posteriors.DiagonalNormal,
    "full_normal": kvae.posteriors.FullNormal,
    "low_rank_normal": lambda **kw: kvae.posteriors.LowRankNormal(2, **kw),
    "flow_iaf": lambda **kw: kvae.posteriors.Flow("iaf", hidden=(8,), context=4, **kw),
    "flow_coupling_spline": lambda **kw: kvae.posteriors.Flow("coupling", 3, "spline", (8,), context=0, bins=4, **kw),
    "deterministic": kvae.posteriors.Deterministic,
    **CODES,
}
HIERARCHIES = {  # with the prior beside them, of as many groups
    "top_down": kvae.posteriors.TopDown,
    "top_down_three": lambda **kw: kvae.posteriors.TopDown(groups=(1, 1, 1), hidden=(), residual=False, **kw),
    "ladder": kvae.posteriors.Ladder,
    "bottom_up": kvae.posteriors.BottomUp,
}
DENSITIES = {name: make for name, make in POSTERIORS.items() if name not in ("deterministic", *CODES)}
LIKELIHOODS = {
    "bernoulli": kvae.likelihoods.Bernoulli,
    "beta_binomial": kvae.likelihoods.BetaBinomial,
    "categorical": lambda **kw: kvae.likelihoods.Categorical(5, **kw),
    "continuous_bernoulli": kvae.likelihoods.ContinuousBernoulli,
    "continuous_bernoulli_clipped": lambda **kw: kvae.likelihoods.ContinuousBernoulli(clip=1e-3, **kw),
    "discretized_logistic": kvae.likelihoods.DiscretizedLogistic,
    "discretized_logistic_mixture": lambda **kw: kvae.likelihoods.DiscretizedLogistic(8, components=3, **kw),
    "negative_binomial": kvae.likelihoods.NegativeBinomial,
    "normal_fixed": lambda **kw: kvae.likelihoods.Normal(scale=0.5, **kw),
    "normal_learned": lambda **kw: kvae.likelihoods.Normal(scale="learned", **kw),
    "normal_optimal": lambda **kw: kvae.likelihoods.Normal(scale="optimal", **kw),
    "normal_local": lambda **kw: kvae.likelihoods.Normal(scale="local", **kw),
    "ordinal": lambda **kw: kvae.likelihoods.Ordinal(5, **kw),
    "poisson": kvae.likelihoods.Poisson,
    "zero_inflated_beta_binomial": lambda **kw: kvae.likelihoods.ZeroInflated(kvae.likelihoods.BetaBinomial(20), **kw),
    "zero_inflated_poisson": lambda **kw: kvae.likelihoods.ZeroInflated(kvae.likelihoods.Poisson(), **kw),
    "normal_channel": lambda **kw: kvae.likelihoods.Normal(scale="learned", per="channel", **kw),
    "normal_element": lambda **kw: kvae.likelihoods.Normal(scale="optimal", per="element", **kw),
    "normal_element_local": lambda **kw: kvae.likelihoods.Normal(scale="local", per="element", **kw),
    "student_t": kvae.likelihoods.StudentT,
    "student_t_learned": lambda **kw: kvae.likelihoods.StudentT(scale="learned", **kw),
    "log_normal": kvae.likelihoods.LogNormal,
    "log_normal_learned": lambda **kw: kvae.likelihoods.LogNormal(scale="learned", **kw),
    "beta": kvae.likelihoods.Beta,
}
JOINTS = {  # of six columns; they have no parameters of each element, and tests of their own in likelihoods/
    "joint": lambda **kw: kvae.likelihoods.Joint(
        {
            "job": (3, kvae.likelihoods.Categorical(4)),
            "real": ((0, 5), kvae.likelihoods.Normal("optimal", per="element")),
            "times": (1, kvae.likelihoods.LogNormal()),
            "counts": (4, kvae.likelihoods.Poisson()),
            "yes": (2, kvae.likelihoods.Bernoulli()),
        },
        **kw,
    ),
    "joint_masses": lambda **kw: kvae.likelihoods.Joint(
        {"yes": (range(4), kvae.likelihoods.Bernoulli()), "marks": ([4, 5], kvae.likelihoods.Ordinal(3))}, **kw
    ),
}
MASSES = {
    "codes_uniform": kvae.priors.Codes,
    "codes_categorical": lambda: kvae.priors.Codes("categorical"),
    "codes_autoregressive": lambda: kvae.priors.Codes("autoregressive", units=8, layers=1, heads=2),
}
PRIORS = {
    "standard_normal": kvae.priors.StandardNormal,
    "conditional_normal": kvae.priors.ConditionalNormal,  # as a model in test_conditional.py
    "hierarchical": lambda **kw: kvae.priors.Hierarchical(hidden=(4,), **kw),
    "mixture_of_normals": lambda: kvae.priors.MixtureOfNormals(components=4),
    "vamp_prior": lambda: kvae.priors.VampPrior(components=5),
    "vamp_prior_weights": lambda: kvae.priors.VampPrior(components=5, learned_weights=True),
    **MASSES,
    "flow_coupling": lambda: kvae.priors.Flow(layers=2, hidden=(8,), bins=4),
    "flow_maf": lambda: kvae.priors.Flow("maf", 2, "affine", (8,)),
    "flow_conditional": lambda: kvae.priors.Flow("maf", 2, "spline", (8,), bins=4, conditional=True),
}
CONDITIONAL = ("conditional_normal", "flow_conditional")  # priors of conditional models alone
OBJECTIVES = {
    "elbo": kvae.objectives.ELBO,
    "elbo_analytic": lambda: kvae.objectives.ELBO(kl="analytic"),
    "elbo_monte_carlo": lambda: kvae.objectives.ELBO(kl="monte_carlo"),
    "elbo_beta": lambda: kvae.objectives.ELBO(beta=4.0),
    "elbo_no_kl": lambda: kvae.objectives.ELBO(beta=0),
    "elbo_linear": lambda: kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 1.0, 4)),
    "elbo_cyclical": lambda: kvae.objectives.ELBO(beta=kvae.schedules.Cyclical(0.0, 1.0, 4, cycles=2)),
    "elbo_samples": lambda: kvae.objectives.ELBO(samples=3),
    "elbo_free_bits": lambda: kvae.objectives.ELBO(free_bits=0.1),
    "elbo_path": lambda: kvae.objectives.ELBO(gradient="path", samples=2),
    "iwae": kvae.objectives.IWAE,
    "iwae_groups": lambda: kvae.objectives.IWAE(6, groups=3),
    "iwae_doubly": lambda: kvae.objectives.IWAE(4, "doubly_reparameterized", groups=2),
    "capacity": lambda: kvae.objectives.Capacity(2.0, gamma=10.0),
    "capacity_linear": lambda: kvae.objectives.Capacity(kvae.schedules.Linear(0.0, 2.0, 4), gamma=10.0, samples=2),
    "total_correlation": kvae.objectives.TotalCorrelation,
    "total_correlation_linear": lambda: kvae.objectives.TotalCorrelation(
        kvae.schedules.Linear(0.0, 4.0, 4), alpha=0.5, gamma=2.0, dataset_size=16, samples=2
    ),
    "mmd": kvae.objectives.MMD,
    "mmd_linear": lambda: kvae.objectives.MMD(
        10.0, beta=kvae.schedules.Linear(0.0, 1.0, 4), kernel="rbf", bandwidths=(0.5, 1.0), samples=2
    ),
}
NETWORKS = {  # name: (event shape, networks)
    "mlp": ((6,), lambda shape: kvae.networks.mlp(shape, LATENT, hidden=(8,))),
    "mlp_linear": ((6,), lambda shape: kvae.networks.mlp(shape, LATENT, hidden=())),
    "mlp_mask": ((6,), lambda shape: kvae.networks.mlp(shape, LATENT, hidden=(8,), mask=True)),
    "mlp_image": ((3, 2, 2), lambda shape: kvae.networks.mlp(shape, LATENT, hidden=(8, 5), activation="tanh")),
    "conv_odd": ((7, 5, 2), lambda shape: kvae.networks.conv(shape, LATENT, filters=(3, 4), dense=6)),
    "conv_one_level": ((4, 4, 1), lambda shape: kvae.networks.conv(shape, LATENT, filters=(3,), dense=6)),
    "conv_flat": ((9,), lambda shape: kvae.networks.conv(shape, LATENT, filters=(3, 4), dense=6)),
    "conv_series": ((11, 2), lambda shape: kvae.networks.conv(shape, LATENT, filters=(3,), dense=6)),
    "resnet_odd": ((7, 5, 2), lambda shape: kvae.networks.resnet(shape, LATENT, filters=(4, 6), dense=6, skips=True)),
    "resnet_batch": (
        (6, 5, 1),
        lambda shape: kvae.networks.resnet(shape, LATENT, filters=(4,), blocks=0, dense=6, normalization="batch"),
    ),
    "resnet_series": (
        (9,),
        lambda shape: kvae.networks.resnet(shape, LATENT, filters=(4, 6), blocks=0, dense=6, normalization="group"),
    ),
}

DEFAULTS = ("diagonal_normal", "standard_normal", "elbo", "mlp")

# One model for each row of every column, the others at their defaults; "plain" is the row of all defaults.
MODELS = {
    "plain": {},
    **{f"posterior_{name}": {"posterior": make} for name, make in DENSITIES.items() if name not in DEFAULTS},
    "posterior_deterministic": {"posterior": POSTERIORS["deterministic"], "objective": OBJECTIVES["elbo_no_kl"]},
    **{f"posterior_{name}": {"posterior": make, "prior": MASSES["codes_uniform"]} for name, make in CODES.items()},
    **{
        f"prior_{name}": {"posterior": CODES["finite_scalar"], "prior": make}
        for name, make in MASSES.items()
        if name != "codes_uniform"
    },
    **{f"likelihood_{name}": {"likelihood": make} for name, make in (LIKELIHOODS | JOINTS).items()},
    **{
        f"prior_{name}": {"prior": make}
        for name, make in PRIORS.items()
        if name not in (*CONDITIONAL, *MASSES, *DEFAULTS)
    },
    **{
        f"hierarchy_{name}": {"posterior": make, "prior": functools.partial(kvae.priors.Hierarchical, make().groups)}
        for name, make in HIERARCHIES.items()
    },
    "prior_vamp_prior_full_normal": {"prior": PRIORS["vamp_prior"], "posterior": POSTERIORS["full_normal"]},
    "prior_vamp_prior_hierarchy": {"prior": PRIORS["vamp_prior"], "posterior": HIERARCHIES["top_down"]},
    "prior_vamp_prior_bounds": {"prior": PRIORS["vamp_prior"], "likelihood": LIKELIHOODS["bernoulli"]},
    **{f"objective_{name}": {"objective": make} for name, make in OBJECTIVES.items() if name not in DEFAULTS},
    "objective_mmd_deterministic": {"posterior": POSTERIORS["deterministic"], "objective": OBJECTIVES["mmd"]},
    **{f"network_{name}": {"network": name} for name in NETWORKS if name not in DEFAULTS},
    "kernel_size": {"network": "conv_one_level", "likelihood": lambda: kvae.likelihoods.Bernoulli(kernel_size=3)},
    "kernel_size_even": {"network": "conv_odd", "likelihood": lambda: kvae.likelihoods.Normal("local", kernel_size=2)},
}

# Whole models. Every row of every column is in one, but for the `CONDITIONAL` priors. Rows of different columns share a
# model; of two likelihoods it has the first (the second is there for its support).
_SHARED = {
    "likelihood_bernoulli": ("network_mlp_linear", "prior_mixture_of_normals"),
    "likelihood_categorical": ("network_conv_odd", "prior_flow_coupling"),
    "likelihood_continuous_bernoulli": ("network_conv_one_level", "prior_flow_maf"),
    "likelihood_normal_fixed": ("network_resnet_odd", "prior_codes_categorical"),
    "likelihood_normal_learned": ("network_resnet_batch", "posterior_vector_quantized"),
    "likelihood_normal_optimal": ("network_mlp_mask",),
    "likelihood_poisson": ("network_resnet_series",),
    "likelihood_normal_channel": ("network_mlp_image", "prior_vamp_prior"),
    "likelihood_student_t": ("network_conv_series", "posterior_finite_scalar"),
    "likelihood_log_normal": ("network_conv_flat", "prior_hierarchical"),
    "likelihood_beta_binomial": ("objective_elbo_analytic",),
    "likelihood_continuous_bernoulli_clipped": ("objective_elbo_no_kl",),
    "likelihood_discretized_logistic": ("objective_elbo_free_bits",),
    "likelihood_discretized_logistic_mixture": ("objective_elbo_path",),
    "likelihood_negative_binomial": ("objective_iwae",),
    "likelihood_normal_local": ("objective_iwae_groups", "prior_vamp_prior_weights"),
    "likelihood_ordinal": ("objective_iwae_doubly",),
    "likelihood_zero_inflated_beta_binomial": ("objective_elbo_samples",),
    "likelihood_zero_inflated_poisson": ("objective_capacity_linear",),
    "likelihood_normal_element": ("objective_capacity",),
    "likelihood_normal_element_local": ("objective_total_correlation",),
    "likelihood_student_t_learned": ("objective_total_correlation_linear",),
    "likelihood_log_normal_learned": ("objective_mmd",),
    "likelihood_beta": ("objective_mmd_linear",),
    "posterior_full_normal": ("objective_elbo_linear",),
    "posterior_low_rank_normal": ("objective_elbo_cyclical",),
    "posterior_flow_iaf": ("objective_elbo_beta",),
    "posterior_flow_coupling_spline": ("objective_elbo_monte_carlo",),
    "likelihood_joint": ("hierarchy_ladder",),
    "likelihood_joint_masses": ("hierarchy_bottom_up",),
    "kernel_size": ("prior_vamp_prior_bounds",),
    "kernel_size_even": ("hierarchy_top_down",),
}


def _whole() -> dict[str, dict]:
    models = {name: dict(parts) for name, parts in MODELS.items()}
    for name, others in _SHARED.items():
        for other in others:
            row = models.pop(other)
            assert not row.keys() & models[name].keys() - {"likelihood"}, f"{name} and {other} are of one column"
            models[name] = row | models[name]
    return {"_".join((name, *_SHARED.get(name, ()))): parts for name, parts in models.items()}


WHOLE = _whole()


def make_vae(
    network="mlp", seed=0, compiled=True, jit_compile=False, optimizer=None, conditional=False, **parts
) -> kvae.VAE:  # fmt: skip
    """A small model; parts are the functions of the table."""
    keras.utils.set_random_seed(seed)
    shape, networks = (NETWORKS["mlp"][0], conditional_networks) if conditional else NETWORKS[network]
    vae = kvae.VAE(*networks(shape), seed=seed, **{part: make() for part, make in parts.items()})
    if compiled:
        vae.compile(optimizer=optimizer or keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    return vae


def event_of(parts: dict) -> tuple[int, ...]:
    """The event shape of a row of `MODELS`."""
    return NETWORKS[parts.get("network", "mlp")][0]


def conditional_networks(event_shape) -> tuple[keras.Model, keras.Model]:
    """Small networks that take one of two classes beside x and z."""
    return kvae.networks.mlp(event_shape, LATENT, hidden=(8,), condition=2)


def quick(test: str, *rows: str):
    """For a class of tests: of a test with named rows all but these rows are slow ones."""

    def mark(cls):
        names = {name.removeprefix(test).lstrip("_"): name for name in vars(cls) if name.startswith(test)}
        for row in set(names) - set(rows):
            pytest.mark.slow(vars(cls)[names[row]])
        assert set(rows) <= set(names), f"{sorted(rows)} are not all rows of {sorted(names)}"
        return cls

    return mark


def slow_but(rows, *fast) -> list:
    """For `pytest.mark.parametrize`: the rows, all but these being slow ones."""
    assert all(row in list(rows) for row in fast), f"{fast} are not all rows of {list(rows)}"
    return [row if row in fast else pytest.param(row, marks=pytest.mark.slow) for row in rows]


def state(vae) -> list[np.ndarray]:
    """All that training moves."""
    return [np.array(v) for v in vae.weights + vae.optimizer.variables]


@functools.cache
def _shared(parts: tuple) -> tuple[kvae.VAE, list[np.ndarray]]:
    vae = make_vae(**dict(parts))
    return vae, state(vae)


def restarted(**parts) -> kvae.VAE:
    """The model of `make_vae` as it was when it was made: one for all tests of a process, which share its traces.

    A test that compiles it anew, or wants two of a kind at once, makes its own.
    """
    vae, start = _shared(tuple(sorted(parts.items())))
    for variable, value in zip(vae.weights + vae.optimizer.variables, start, strict=True):
        variable.assign(value)
    return vae


def examples(likelihood: kvae.likelihoods.Likelihood, event_shape, n=16, seed=0) -> np.ndarray:
    """Numbers in the likelihood's support, its ends among them."""
    x = np.random.default_rng(seed).random((n, *event_shape)).astype(np.float32)
    for number, (columns, one) in enumerate(likelihood.groups.values()):
        x[:, columns] = examples(one, (len(columns),), n, seed + number)
    if likelihood.groups:
        return x
    if likelihood.support.binary:
        return (x > 0.5).astype(np.float32)
    if likelihood.support.integer:
        ends = np.isfinite(likelihood.support.high)
        high = likelihood.support.high if ends else 20.0
        x = np.floor(x * (high + 1.0)) if ends else np.floor(-3.0 * np.log1p(-x))
        x[0], x[1] = 0.0, high
        return x
    if likelihood.support.high == 1.0:
        x[0], x[1] = (1e-3, 0.999) if likelihood.support.open else (0.0, 1.0)
        return x
    return np.exp(4.0 * x - 2.0) if likelihood.support.low == 0.0 else 4.0 * x - 2.0


@contextlib.contextmanager
def without_xla():
    """A model compiled inside takes XLA only if told to. In a short training it compiles for longer than it runs."""
    with mock.patch.object(compiling, "prefers_xla", return_value=False):
        yield


@contextlib.contextmanager
def inside(folder):
    """With this folder for the working directory, as contextlib.chdir of Python 3.11 has it."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Batches(keras.utils.PyDataset):
    """x in batches of `size`, as Keras' own kind of pipeline; all of x again and again where `endless`."""

    def __init__(self, x, size: int, endless: bool = False):
        super().__init__()
        self.x, self.size, self.endless = x, size, endless

    @property
    def num_batches(self):
        return None if self.endless else -(-len(self.x) // self.size)

    def __getitem__(self, i):
        first = i * self.size % len(self.x)
        return self.x[first : first + self.size]
