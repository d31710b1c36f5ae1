"""Train cases on so many replicas of one process, or as one of several workers, and write their numbers.

python replicas_program.py CASE,CASE,... REPLICAS OUTPUT
TF_CONFIG=... python replicas_program.py CASE,CASE,... workers OUTPUT
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import sys
import tempfile
import threading

import keras
import numpy as np
import tensorflow as tf

import kvae
from kvae import likelihoods, posteriors, priors
from kvae.data.shards import Shards
from kvae.training import loop, streamed

random = np.random.default_rng(0)
X = (random.random((101, 12)) < 0.4).astype(np.float32)
GREY = random.random((101, 12)).astype(np.float32)
WEIGHT = random.random(101).astype(np.float32)
MASK = random.random((101, 12)) < 0.8
LABELS = random.integers(0, 3, 101)
FILES = tempfile.TemporaryDirectory()
READ = {"rows": 0}  # by the thread that reads ahead


def networks(extra=None, **options):
    encoder, decoder = kvae.networks.mlp((12,), options.pop("latent_dim", 3), hidden=(16,), **options)
    if extra is not None:
        encoder = keras.Sequential([keras.Input((12,)), extra, encoder])
    return encoder, decoder


def adam(**options):
    return keras.optimizers.Adam(1e-2, epsilon=1e-4, **options)


CASES = {  # data, fit's arguments, networks, the model's arguments, the optimizer; together what a fit can be
    "sgd": lambda: (
        X, {}, networks(keras.layers.Dense(12, kernel_regularizer="l2")), {"prior": priors.VampPrior(5)},
        keras.optimizers.SGD(0.1, momentum=0.5, clipnorm=0.05),
    ),
    "adam": lambda: (X, {}, networks(), {}, adam()),
    "adamw": lambda: (
        (X, LABELS), {"sample_weight": WEIGHT}, networks(condition=3),
        {"objective": kvae.objectives.IWAE(5), "posterior": posteriors.Flow("iaf", hidden=(8,), context=4)},
        keras.optimizers.AdamW(1e-2, epsilon=1e-4, global_clipnorm=0.3),
    ),
    "mask": lambda: ({"x": X, "mask": MASK}, {}, networks(), {}, adam(use_ema=True, ema_momentum=0.9)),
    "dynamic": lambda: (kvae.data.Split(GREY, dynamic=True, seed=2, batch_size=24), {}, networks(), {}, adam()),
    "disk": lambda: (
        kvae.data.Split(kvae.data.folder(FILES.name)["x_train"], dynamic=True, seed=2, batch_size=24),
        {}, networks(), {}, adam(),
    ),
    "optimal": lambda: (GREY, {}, networks(), {"likelihood": likelihoods.Normal("optimal")}, adam()),
    "optimal_each": lambda: (GREY, {}, networks(), {"likelihood": likelihoods.Normal(per="element")}, adam()),
    "codes": lambda: (
        X, {}, networks(latent_dim=4),
        {"posterior": posteriors.VectorQuantized(8, dim=2, restart=0.1), "prior": priors.Codes("categorical")}, adam(),
    ),
}  # fmt: skip


LONG = ("sgd", "adam", "adamw")  # a hundred steps


def trained(case: str) -> dict[str, np.ndarray]:
    """The numbers of a case: losses, evaluation, weights."""
    keras.utils.set_random_seed(0)
    data, options, pair, parts, optimizer = CASES[case]()
    model = kvae.VAE(*pair, **{"likelihood": "bernoulli", "seed": 3} | parts)
    model.compile(optimizer, jit_compile=False)
    if not isinstance(data, kvae.data.Split):
        options["batch_size"] = 24  # 101 rows: five batches, the last one of five rows
    held_out = {"mask": {"x": X[:30], "mask": MASK[:30]}, "adamw": (X[:30], LABELS[:30])}
    held_out = held_out.get(case, (GREY if model.likelihood.support.high > 1 else X)[:30])
    epochs = 20 if case in LONG else 4
    history = model.fit(data, epochs=epochs, verbose=0, validation_data=held_out, **options).history
    found = {f"history {name}": np.asarray(values) for name, values in history.items()}
    found |= {f"evaluated {k}": v for k, v in model.evaluate(data, batch_size=7, verbose=0, return_dict=True).items()}
    for i, weight in enumerate(model.weights):
        found[f"weight {i}"] = tf.convert_to_tensor(weight).numpy()
    return found


def watch_the_disk():
    """Stream what is on disk, two steps at a time, and count the rows that are read while the steps run."""
    loop.LARGEST_HELD, streamed._BLOCK = 0, 2 * 24 * GREY[0].nbytes
    kvae.data.write_shards(FILES.name, GREY, 40)
    read = Shards.__getitem__

    def counted(shards, rows):
        if threading.current_thread() is not threading.main_thread():
            READ["rows"] += len(rows)
        return read(shards, rows)

    Shards.__getitem__ = counted


def main():
    cases, replicas, output = sys.argv[1:]
    watch_the_disk()
    keras.config.set_dtype_policy("float64")
    if replicas == "workers":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif int(replicas) > 0:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * int(replicas)
        tf.config.set_logical_device_configuration(cpu, devices)
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(int(replicas))])
    else:
        strategy = tf.distribute.get_strategy()
    with strategy.scope():
        found = {case: trained(case) for case in cases.split(",")}
    numbers = {f"{case}: {name}": value for case, numbers in found.items() for name, value in numbers.items()}
    np.savez(output, **numbers, **({"rows read": READ["rows"]} if "disk" in found else {}))


if __name__ == "__main__":
    main()
