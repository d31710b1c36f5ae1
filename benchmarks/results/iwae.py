"""MNIST binarised anew for every batch: the plain VAE and the importance-weighted bound of Burda et al. (2016).

    python benchmarks/results/iwae.py --data_dir DIR --epochs 200 --samples 1000 --rate 2e-3  # half an hour
    python benchmarks/results/iwae.py --data_dir DIR --epochs 1000 --k 1

The data and networks of the paper's one stochastic layer: all 60,000 training images, each batch binarised anew; the
10,000 test images binarised once; tanh 784-200-200-50-200-200-784, the output bias at the logits of the mean image. The
schedule is shorter than the paper's 3,280 epochs with batches of 20: batches of 100 and a rate that falls by half a
cosine. Prints for each row the negative log-likelihood of the test images by importance sampling, the ELBO, the active
units on 2,000 training images, the seconds of training.

Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv 1509.00519, table 1.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras

import kvae

LATENTS, HIDDEN = 50, (200, 200)


def train(data, objective, options):
    """A model after the whole schedule, and the seconds of processor time that it took."""
    keras.utils.set_random_seed(options.seed)
    networks = kvae.networks.mlp(data.event_shape, LATENTS, hidden=HIDDEN, activation="tanh")
    vae = kvae.VAE(*networks, likelihood="bernoulli", objective=objective, seed=options.seed)
    steps = options.epochs * -(-len(data.train) // data.train.batch_size)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(options.rate, steps)))
    vae.adapt(data.train)
    start = time.process_time()
    vae.fit(data.train, epochs=options.epochs, verbose=0)
    return vae, time.process_time() - start


def row(name, vae, seconds, data, options) -> str:
    """What was measured, as a row of a table."""
    found = kvae.evaluate.summary(vae, data.test, samples=options.samples, seed=options.seed)
    images = kvae.data.Split(data.train.first(2000).x)
    active = kvae.evaluate.summary(vae, images, samples=1)["active_units"]
    nll = found["log_likelihood"]._replace(mean=-found["log_likelihood"].mean)
    return f"| {name} | {nll} | {found['elbo'].mean:.2f} | {active.mean:.0f} | {seconds:.0f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist", help="or 'digits', for a try")
    parser.add_argument("--data_dir")
    parser.add_argument("--k", type=int, nargs="+", default=(1, 5), help="samples a training image; 1 is the VAE")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = kvae.data.load(
        options.dataset, validation=0, binarize="dynamic", batch_size=options.batch_size, data_dir=options.data_dir
    )
    print("| row | NLL, nats | ELBO | active units | processor seconds |\n|---|---|---:|---:|---:|", flush=True)
    for k in options.k:
        objective = "elbo" if k == 1 else kvae.objectives.IWAE(k)
        name = "VAE" if k == 1 else f"IWAE, {k} samples"
        print(row(name, *train(data, objective, options), data, options), flush=True)


if __name__ == "__main__":
    main()
