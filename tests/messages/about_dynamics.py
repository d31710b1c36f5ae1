"""Messages about transitions, trajectories and forecasts: place to (call, message[, type])."""

import functools

import keras
import numpy as np

import kvae
from kvae import dynamics
from kvae.dynamics import Dynamics
from tests.messages.given import X, conditional, mlp, path, vae

STATES = np.stack([X, X[::-1]])  # [2, 10, 6]


@functools.cache
def model(transition="linear", **options) -> Dynamics:
    return Dynamics(vae(), transition, **options)


def _network(inputs, outputs) -> keras.Model:
    one = keras.Input(inputs)
    return keras.Model(one, keras.layers.Dense(outputs)(one))


def _growing():
    found = Dynamics(vae(), "linear")
    found.network.layers[-1].set_weights([1e9 * np.eye(3), np.ones(3)])
    return found.rollout(X[:2], 20)


def _diverging():
    found = Dynamics(vae(), "linear", horizon=2)
    found.compile(keras.optimizers.SGD(1e30), run_eagerly=True)
    found.fit(STATES, batch_size=4, epochs=2, verbose=0)


def _other_prior():
    found = Dynamics(kvae.VAE(*mlp()), "linear", objective="elbo")
    found.vae.fit_prior(X, prior=kvae.priors.MixtureOfNormals(2), seed=0)
    found.fit(STATES)


def _flow():
    return kvae.VAE(*mlp(), posterior=kvae.posteriors.Flow("iaf", hidden=(8,), context=4))


ROWS = {
    "dynamics.transitions.checked": [
        (
            lambda: Dynamics(vae(), _network((4,), 3)),
            r"transition must be a built Keras model from codes \(None, 3\) to their move \(None, 3\), got one from "
            r"and to \[\(4,\), \(3,\)\]. The VAE has 3 latents, and order=1",
        ),
        (
            lambda: Dynamics(vae(), _network((3,), 3), condition=2),
            r"from codes \(None, 3\) and a condition \(None, 2\) to their move \(None, 3\), got one from and to",
        ),
    ],
    "dynamics.trajectories.conditions": [
        (
            lambda: model(condition=2).fit(STATES),
            "was made with condition=2, got condition=None. Give as many numbers for each trajectory",
        ),
        (
            lambda: model().rollout(X, 2, condition=X),
            "was made with condition=0, got condition=an array. Leave it out, or make a model with one",
        ),
        (
            lambda: model(condition=2).rollout(X, 2, condition=X),
            r"condition must be finite numbers of shape \(10, 2\), a row for each trajectory, got shape \(10, 6\). A "
            r"viscosity of all is numpy.full\(10, nu\)",
        ),
    ],
    "dynamics.fitting.Fitting._pair": [
        (
            lambda: model(condition=1).fit(STATES, condition=[0, 1], validation_data=STATES),
            r"validation_data of a Dynamics with a condition must be a pair \(trajectories, condition\)",
        ),
    ],
    "dynamics.trajectories.checked": [
        (
            lambda: model().codes(X),
            r"trajectories must have shape \[N, T, 6\], got \(10, 6\). One trajectory .*x\[None",
        ),
        (
            lambda: model().codes(np.ma.masked_less(STATES, 0.1)),
            "trajectories have missing values. Fill them in, with vae.impute for example",
        ),
        (
            lambda: model(horizon=4).fit(STATES[:, :4]),
            "trajectories must have at least 5 states for this order and horizon, got 4. Give longer ones, or a sm",
        ),
    ],
    "dynamics.dynamics.Dynamics.__init__": [
        (lambda: Dynamics(conditional()), "Dynamics takes a VAE without conditions, and this one has them. Train one"),
        (
            lambda: Dynamics(vae(), "residual", order=3, objective="elbo"),
            r"objective='elbo' takes order=1, or transition='gru', got order=3: f would be trained on copies",
        ),
    ],
    "dynamics.fitting.Fitting.compile": [
        (
            lambda: model().compile("adam", loss="mse"),
            r"compile\(\) of a Dynamics takes optimizer, jit_compile and run_eagerly, got \['loss'\]. Its loss is",
            TypeError,
        ),
    ],
    "dynamics.fitting.Fitting.fit": [
        (
            _other_prior,
            r"The VAE has other weights than at compile\(\), after fit_prior for example. Call compile\(\) ag",
        ),
        (
            _diverging,
            "The loss is no longer finite. Begin again with a smaller learning rate, or a smaller horizon",
            FloatingPointError,
        ),
    ],
    "dynamics.dynamics.Dynamics.rollout": [
        (
            _growing,
            r"The roll-out leaves the finite numbers at step \d. Take fewer steps, or train the transition with a",
            FloatingPointError,
        ),
    ],
    "dynamics.base.Transition.linear_map": [
        (lambda: model("residual").eigenvalues(), "A linear transition is needed, and this one is 'residual'."),
    ],
    "dynamics.filtering._potentials": [
        (
            lambda: Dynamics(_flow(), "linear").log_likelihood(STATES),
            r"log_likelihood draws near a normal q\(z\|x\), and that of Flow is none. Use posterior='diagonal_normal'",
        ),
    ],
    "export.staging.new_path": [
        (
            lambda: model().export(path("file", b"")),
            "file exists and is not overwritten. Export to another path",
            FileExistsError,
        ),
    ],
    "dynamics.scores.coverage": [
        (
            lambda: dynamics.coverage(STATES[None], STATES),
            r"coverage needs an ensemble of at least 2 draws, got one. Give rollout\(samples=100\)",
        ),
    ],
    "dynamics.scores.spectrum": [
        (lambda: dynamics.spectrum(X), r"spectrum takes finite fields \[N, T, points\], got shape \(10, 6\). Take one"),
    ],
    "dynamics.scores.frequency": [
        (
            lambda: dynamics.frequency(STATES),
            r"frequency takes finite series \[N, T\], got shape \(2, 10, 6\). Take one element of x",
        ),
        (lambda: dynamics.frequency(X), "frequency needs two passes through the mean in each series. Give longer ones"),
    ],
    "dynamics.scores.amplitude": [
        (
            lambda: dynamics.amplitude(STATES),
            r"amplitude takes finite series \[N, T\], got shape \(2, 10, 6\). Take one element of x",
        ),
    ],
    "dynamics.scores._pair": [
        (
            lambda: dynamics.forecast_error(STATES[:, 1:], STATES),
            r"A forecast \[N, steps, ...\] or \[S, N, steps, ...\] of a truth \[N, steps, ...\] is needed, got shapes "
            r"\(1, 2, 9, 6\) and \(2, 10, 6\). Cut both to the same",
        ),
        (
            lambda: dynamics.forecast_error(STATES * np.nan, STATES),
            "forecast and truth must be finite. Leave out the steps behind the last finite one",
        ),
    ],
    "dynamics.scores._error": [
        (
            lambda: dynamics.forecast_error(STATES, np.ones_like(STATES)),
            "The truth is constant, so that no error has a scale. Give scale=",
        ),
    ],
    "dynamics.baselines.persistence": [
        (
            lambda: dynamics.persistence(X[0], 3),
            r"x0 must be states \[N, \*event_shape\], got shape \(6,\). A single one takes x0\[None\]",
        ),
    ],
    "dynamics.baselines._states": [
        (lambda: dynamics.persistence(X / 0.0, 3), "x0 holds values that are not finite. Leave those states out"),
    ],
    "dynamics.baselines.PODRegression.fit": [
        (
            lambda: dynamics.PODRegression(7).fit(STATES),
            "modes must be at most 6 for these states, got 7",
        ),
    ],
    "dynamics.baselines.PODRegression.coordinates": [
        (
            lambda: dynamics.PODRegression(2).fit(STATES).rollout(X[:, :5], 3),
            r"States must have shape \[..., \*\(6,\)\], got \(10, 5\). Reshape them",
        ),
    ],
    "dynamics.baselines.PODRegression.eigenvalues": [
        (
            lambda: dynamics.PODRegression(2).fit(STATES).eigenvalues(),
            r"Only a regression of degree 1 has eigenvalues. Fit PODRegression\(modes, degree=1\)",
        ),
    ],
    "dynamics.baselines.PODRegression._check_fitted": [
        (
            lambda: dynamics.PODRegression(2).rollout(X, 3),
            r"This PODRegression is not fitted. Call fit\(trajectories\) first",
        ),
    ],
}
