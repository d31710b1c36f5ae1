"""The model of communication in `benchmarks/speed/scaling.py`, by numbers worked out by hand."""

import importlib.util
import pathlib

import pytest

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "benchmarks" / "speed" / "scaling.py"


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_predictions_by_hand(scaling):
    """A million weights are 4 MB, of which each of 4 workers sends 3/4 twice: 6 MB at 1 GB/s, in 6 rounds of 1 ms."""
    work = scaling.Work(weights=10**6, multiply_adds=10**6)
    cluster = scaling.Cluster("four", workers=4, speed=1e12, overhead=2e-3, bandwidth=1e9, latency=1e-3)
    assert scaling.computing(work, cluster, 1000) == pytest.approx(2e-3 + 6e-3)
    assert scaling.communicating(work, cluster) == pytest.approx(6e-3 + 6e-3)
    assert scaling.communicating(work, cluster, reductions=2) == pytest.approx(24e-3)
    assert scaling.weak(work, cluster, 1000) == pytest.approx(8 / 20)
    assert scaling.strong(work, cluster, 4000) == pytest.approx((2 + 24) / (4 * 20))
    assert scaling.strong(work, cluster, 4000, reductions=2) == pytest.approx(26 / (4 * 32))
    alone = cluster._replace(workers=1)
    assert (scaling.communicating(work, alone), scaling.weak(work, alone, 9), scaling.strong(work, alone, 9)) == (
        0,
        1,
        1,
    )


def test_work_is_counted(scaling):
    """784-400-400-784 with 20 latents: products with 784 x 400 and the projections 400 x 40, 20 x 400 and 400 x 784."""
    import kvae

    vae = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 20, hidden=(400,)), likelihood="bernoulli")
    products = 784 * 400 + 400 * 40 + 20 * 400 + 400 * 784
    assert scaling.work_of(vae) == scaling.Work(products + 400 + 40 + 400 + 784, products)
