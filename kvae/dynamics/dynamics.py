"""The time-evolution operator on codes."""

import keras
import numpy as np

from kvae._environment import VERSION
from kvae.dynamics import filtering, rollouts, serving, trajectories, transitions
from kvae.dynamics.fitting import Fitting
from kvae.models.resolve import check_continuous, check_model
from kvae.models.saving import check_saved, save_whole
from kvae.numerics import arguments

_CONDITIONS = 1000  # at most


@keras.saving.register_keras_serializable("kvae")
class Dynamics(Fitting):
    """A reduced-order model: p(z_t+1 | z_t, ...) = N(z_t + f(z_t, ...), diag s^2) on the codes of a VAE.

    Trajectories are arrays `[N, T, *event_shape]` of states at equal steps of time. The VAE gives z for a state and a
    state for z; the transition moves z by one step.

    With objective="codes" the VAE stays as it is. f is fitted to the centers of q(z|x) by maximum likelihood: the
    mean over `horizon` steps of log N(z_t+j; m_j, diag s_j^2), with m_j the path of the mean from z_t on, s_j^2 a mean
    square, and s = s_1. With objective="elbo" VAE and transition are trained together on the sequence ELBO of
    stretches of `horizon` + 1 states,

        sum_t E_q log p(x_t|z_t) - KL(q(z_t|x_t) || p(z_t|z_t-1)), with the VAE's prior for the first z.

    Args:
        vae: a `kvae.VAE` without conditions, whose z are real numbers. For objective="codes" a trained one.
        transition: f: "linear", "residual" (two layers of 256), "gru" (64 units), or a Keras model from codes
            `[B, order, D]` (or `[B, D]` for order 1) to `[B, D]`. It works in units of the codes, which the first
            `fit` sets: its input has mean 0 and deviation 1, its output is in units of a typical move.
        horizon: steps ahead.
        order: how many of the last codes f sees, by default 1, or 8 for "gru". Where there are fewer, copies of the
            first one stand before it. "gru" is trained on such starts, too; others on whole windows, so that
            objective="elbo" takes no other of a higher order.
        objective: "codes" or "elbo".
        condition: how many numbers say in what trajectories differ, such as a viscosity; 0 for none. f gets them, less
            their mean and over their deviation, beside the codes: A and b of a "linear" transition are polynomials of
            degree 2 of them. A Keras model takes them as a second input `[B, condition]`. Then all methods that take
            states, but for `codes`, need `condition=`, a row for each trajectory or start.
        seed: of the order of the data and of the noise in training.
        name: the model's name.

    A "linear" transition on codes with horizon 1 is fitted at once, by least squares. Others start there (or, where
    they are not linear, at no move) and are trained by `fit` with Adam, or as `compile` says. It is a Keras model: one
    `.keras` file holds it with its VAE and optimizer. All log-densities are in nats.

    Raises:
        ValueError: for a conditional VAE, one with a codebook, a transition of other shapes, or an order above 1 of
            other transitions than "gru" with objective="elbo".

    References: Solera-Rico et al. (2024), beta-variational autoencoders and transformers for reduced-order modelling of
    fluid flows, Nature Communications 15. Krishnan, Shalit, Sontag (2015), Deep Kalman filters, arXiv 1511.05121.
    """

    def __init__(
        self, vae: keras.Model, transition="residual", horizon: int = 1, order: int | None = None,
        objective: str = "codes", condition: int = 0, seed: int = 0, name: str | None = None,
    ):  # fmt: skip
        check_model(vae)
        objective = arguments.choice("objective", objective, ("codes", "elbo"))
        if vae.posterior.has_density or objective == "elbo":
            check_continuous(vae, "Dynamics")
        if vae.condition_shape is not None:
            raise ValueError("Dynamics takes a VAE without conditions, and this one has them. Train one without.")
        horizon, seed = arguments.whole("horizon", horizon, 1), arguments.seed(seed)
        condition = arguments.whole("condition", condition, 0, _CONDITIONS)
        default = 8 if isinstance(transition, str) and transition == "gru" else 1
        order = default if order is None else arguments.whole("order", order, 1)
        if objective == "elbo" and order > 1 and transition != "gru":
            raise ValueError(
                f"objective='elbo' takes order=1, or transition='gru', got order={order}: f would be trained on copies "
                "of the first code of each stretch. Use objective='codes', or transition='gru'."
            )
        transition = transitions.checked(transition, order, vae.latent_dim, condition)
        super().__init__(vae, transition, order, horizon, objective, condition, seed, name)
        self.compile()

    # ---- what it answers ----

    def call(self, codes, condition=None, training=False):
        """The mean of the next code `[B, D]` for the last `order` codes `[B, order, D]`."""
        return self.mean(codes, condition, training)

    def rollout(
        self, x0, steps: int, samples: int = 1, seed: int = 0, output: str = "mean", condition=None
    ) -> np.ndarray:
        """Forecasts after the states x0: an ensemble of draws from q(z|x0) and of the transition's noise.

        Args:
            x0: states `[N, *event_shape]`, or histories `[N, K, *event_shape]`, the oldest first, of which the last
                `order` are used.
            steps: how many.
            samples: paths from each start; 0 for one path of the mean, without noise. The noise of start i is a
                function of (seed, i, samples, step), so a longer forecast begins as a shorter one.
            seed: of the noise.
            output: "mean" for the means of p(x|z), "sample" for draws of x, "codes" for z.
            condition: of the starts, `[N, condition]`.

        Returns:
            `[max(samples, 1), N, steps, *event_shape]`, for codes `[..., latent_dim]`.

        Raises:
            ValueError: for states that the VAE does not explain.
            FloatingPointError: where a path leaves the finite numbers.
        """
        steps, samples = arguments.whole("steps", steps, 1), arguments.whole("samples", samples, 0)
        output, seed = arguments.choice("output", output, ("mean", "sample", "codes")), arguments.seed(seed)
        starts = self._starts(x0)
        given = trajectories.conditions(condition, self.condition, len(starts))
        z = rollouts.code_paths(self, starts, given, steps, samples, seed)
        finite = np.isfinite(z).all(axis=(0, 1, 3))
        if not finite.all():
            raise FloatingPointError(
                f"The roll-out leaves the finite numbers at step {int(np.argmin(finite)) + 1}. Take fewer steps, or "
                "train the transition with a larger horizon."
            )
        return z if output == "codes" else rollouts.decoded(self, z, seed, output)

    def _starts(self, x0) -> np.ndarray:
        x0 = trajectories.array(x0, "x0")
        if x0.ndim == len(self.vae.event_shape) + 1:
            x0 = x0[:, None]
        x0 = trajectories.checked(x0, self.vae.event_shape, 1)[:, -self.order :]
        self.vae.encode(x0.reshape(-1, *self.vae.event_shape))  # raises
        return x0.astype(self.compute_dtype)

    def log_likelihood(self, x, samples: int = 100, seed: int = 0, condition=None) -> np.ndarray:
        """log p(x_1, ..., x_T) of trajectories `[N, T, *event_shape]`, in nats, `[N]`: log of an unbiased estimate.

        It is a particle filter, see `kvae.dynamics.filtering`: too low on average, by less for more `samples`. For a
        linear transition of order 1 and a q that is the exact posterior it is exact, the Kalman filter's. The noise of
        trajectory i is a function of (seed, i, samples). It uses the s that `calibrate` left.

        Raises:
            ValueError: for a posterior that is not normal, and as in `fit`.
        """
        check_continuous(self.vae, "log_likelihood")
        samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
        x = trajectories.checked(x, self.vae.event_shape, 1)
        given = trajectories.conditions(condition, self.condition, len(x))
        return filtering.log_likelihood(self, x, given, samples, seed)

    # ---- files ----

    def save(self, filepath, **kwargs):
        """Write a `.keras` file, as `VAE.save` does.

        Raises:
            ValueError: for what is no path of a file, and for a VAE whose networks share a layer, as in `VAE.save`.
            OSError: as there.
        """
        check_saved(self.vae, arguments.path("filepath", filepath))
        save_whole(super().save, filepath, **kwargs)

    def export(self, path, steps: int = 100) -> str:
        """Write a SavedModel for serving to exactly `path`, which must not exist, and return it.

        Its signatures, with the batch first and seeds int32 `[B]`, one for each row:

        | name | inputs | outputs |
        |---|---|---|
        | serving_default, rollout | x, seed | codes and mean of p(x given z) for `steps` steps; valid |
        | step | z | mean and scale of the next code |

        Where the model has a condition it is an input of both, `[B, condition]`.

        A row of `rollout` is `rollout(x[None], steps, 1, seed)` here. Where a row is not `valid` its x is not one that
        the likelihood explains. `assets.extra/manifest.json` has shapes and tensor names for other languages.

        Raises:
            FileExistsError: where `path` exists.
            ValueError: for what is no path or number of steps.
            OSError: where nothing can be written there.
        """
        return serving.saved_model(self, path, steps)

    def get_config(self):
        """The constructor's arguments, serialised, the layers that are frozen, and the version of kvae."""
        parts = {"vae": self.vae, "transition": self.network if self.transition == "own" else self.transition}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        names = ("horizon", "order", "objective", "condition", "seed", "name")
        frozen = [i for i, layer in enumerate(self.network.layers) if not layer.trainable]
        return config | {name: getattr(self, name) for name in names} | {"frozen": frozen, "kvae_version": VERSION}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model that `get_config` described."""
        frozen = config.get("frozen", ())  # the numbers of layers
        config = {key: value for key, value in config.items() if key not in ("frozen", "kvae_version")}
        for key, value in config.items():
            if isinstance(value, dict):
                config[key] = keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
        model = cls(**config)
        for i in frozen:
            model.network.layers[i].trainable = False
        return model
