"""The flags of `examples/train.py`."""

import dataclasses
import re
from pathlib import Path

import command_line
from absl import flags

flags.disclaim_key_flags()  # they belong to train.py: its --help lists them

HERE = Path(__file__).resolve().parent


@dataclasses.dataclass
class Config:
    """What the flags say."""

    dataset: str = "digits"
    data_dir: str | None = None
    size: tuple[int, ...] | None = None
    channels: int | None = None
    unreadable: str = "raise"
    binarize: str = "auto"
    network: str = "mlp"
    hidden: tuple[int, ...] | None = None
    likelihood: str = "auto"
    scale: str = "optimal"
    clip: float | None = None
    posterior: str = "diagonal_normal"
    objective: str = "elbo"
    beta: float = 1.0
    warm_up: int = 0
    samples: int = 1
    dtype_policy: str = "float32"
    latent_dim: int = 10
    epochs: int = 150
    batch_size: int = 50
    learning_rate: float = 1e-3
    validation: float = 0.1
    importance_samples: int = 1000
    seed: int = 0
    distribute: str = "none"
    output: str | None = None
    saved_models: str = str(HERE.parent / "saved_models")
    verbose: int = 1


_HELP = {
    "binarize": "'dynamic' draws each pixel as 0 or 1 anew for every batch, 'static' once; 'auto' is dynamic for the "
    "embedded digits under the Bernoulli likelihood, and none for all others",
    "network": "of the encoder and the decoder",
    "hidden": "sizes of the hidden layers (mlp, by default 200,200), filters of the levels (conv and resnet, 32,64)",
    "likelihood": "of x; 'auto' follows the data: bernoulli for 0 and 1, continuous_bernoulli for [0, 1], else normal",
    "scale": "of the normal likelihood: 'optimal', 'learned', 'local' or a number",
    "clip": "of the continuous Bernoulli's parameter",
    "posterior": "of z",
    "objective": "the ELBO, its KL term in closed form where there is one, or by draws of z",
    "beta": "weight of the KL term",
    "warm_up": "optimizer steps over which beta rises from 0",
    "samples": "draws of z for each example in training",
    "dtype_policy": "Keras' policy for the networks",
    "validation": "part of the training data held out for validation",
    "importance_samples": "draws of z for each example in the evaluation",
    "distribute": "'mirrored' trains on all devices of this machine, 'multiworker' on those of TF_CONFIG, of which "
    "each runs this program with the same flags (see launch_local.py); the batch is that of all together",
    "output": "directory of this run; by default runs/<name of the data set>",
    "saved_models": "where exported versions are kept, by data set",
    "verbose": "1 for a progress bar, 2 for a line an epoch, 0 for silence",
}
_CHOICES = {
    "binarize": ["auto", "dynamic", "static", "none"],
    "network": ["mlp", "conv", "resnet"],
    "likelihood": ["auto", "bernoulli", "continuous_bernoulli", "normal"],
    "posterior": ["diagonal_normal", "full_normal"],
    "objective": ["elbo", "elbo_monte_carlo"],
    "distribute": ["none", "mirrored", "multiworker"],
    "dtype_policy": ["float32", "mixed_bfloat16", "mixed_float16", "float64"],
}
_LEAST = {"warm_up": 0, "seed": 0, "verbose": 0, "beta": 0.0, "learning_rate": 0.0, "validation": 0.0, "clip": 0.0}
_MOST = {"seed": 2**32 - 1, "verbose": 2, "validation": 1.0, "clip": 0.5}


def short_name(dataset: str) -> str:
    """The name of a data set for folders: "photos" of "../photos/", "images" of "images.npz"."""
    path = Path(dataset).expanduser()
    name = path.resolve().name if path.is_dir() else path.stem if path.suffix == ".npz" else dataset
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "data"


def output_folder(config: Config) -> Path:
    """The directory of the run."""
    return Path(config.output or f"runs/{short_name(config.dataset)}")


def define_flags(values: flags.FlagValues) -> None:
    """A flag for each field of `Config`."""
    command_line.define_data_flags(Config.dataset, values)
    for field in dataclasses.fields(Config):
        name, default, text = field.name, field.default, _HELP.get(field.name, field.name.replace("_", " "))
        if name in values:
            continue
        bounds = {"lower_bound": _LEAST.get(name, 1), "upper_bound": _MOST.get(name)}
        if name == "hidden":
            flags.DEFINE_list(name, default, text, flag_values=values)
        elif name in _CHOICES:
            flags.DEFINE_enum(name, default, _CHOICES[name], text, flag_values=values)
        elif field.type is int:
            flags.DEFINE_integer(name, default, text, flag_values=values, **bounds)
        elif field.type is float or name == "clip":
            flags.DEFINE_float(name, default, text, flag_values=values, **bounds)
        else:
            flags.DEFINE_string(name, default, text, flag_values=values)


def from_flags() -> Config:
    """What the flags say."""
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Config)}
    values |= {name: command_line.sizes(name, values[name]) for name in ("hidden", "size")}
    values["channels"] = values["channels"] and int(values["channels"])
    return Config(**values)
