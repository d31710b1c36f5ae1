"""A training that is killed (SIGKILL) and started again ends with the bytes of one that nobody killed."""

import hashlib
import os
import subprocess
import sys

import pytest

EPOCHS = 4


def train(path: str, killed_at: int) -> None:
    """Train to the last epoch, from the file where there is one, and print the digest; or die within an epoch."""
    import keras

    import kvae
    from kvae.dynamics import Dynamics, flows

    x = flows.oscillator(16, 30, dt=0.3)
    if os.path.exists(path):
        model = kvae.load_model(path)
    else:
        keras.utils.set_random_seed(0)
        vae = kvae.VAE(*kvae.networks.mlp((2,), 2, hidden=(8,)))
        model = Dynamics(vae, "residual", objective="elbo", horizon=3)
        model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)

    def die(batch, logs):
        if int(model.optimizer.iterations) >= killed_at:
            os.kill(os.getpid(), 9)

    steps = 16 * 27 // 11
    callbacks = [kvae.callbacks.Checkpoint(path)]
    if killed_at:
        callbacks.append(keras.callbacks.LambdaCallback(on_train_batch_end=die))
    done = int(model.optimizer.iterations) // steps
    model.fit(x, batch_size=11, epochs=EPOCHS, initial_epoch=done, verbose=0, callbacks=callbacks)
    digest = hashlib.sha256()
    for weight in [*model.weights, *model.optimizer.variables]:
        digest.update(weight.numpy().tobytes())
    print("digest", digest.hexdigest(), done, int(model.optimizer.iterations))


def ended(path, killed_at=0) -> subprocess.CompletedProcess:
    program = [sys.executable, "-m", "tests.dynamics.test_killed", str(path), str(killed_at)]
    return subprocess.run(program, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_killed_and_resumed_to_the_byte(tmp_path):
    whole = ended(tmp_path / "whole.keras").stdout.split()
    assert whole[0] == "digest" and whole[2:] == ["0", "156"]
    assert ended(tmp_path / "d.keras", killed_at=100).returncode == -9  # steps, within the third epoch
    found = ended(tmp_path / "d.keras").stdout.split()
    assert found[2:] == ["2", "156"] and found[1] == whole[1]


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
