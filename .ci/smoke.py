"""A short look at kvae on the Python that runs this.

The report with its self-test, the README's lines, a file, and the main job in short: one process, because half of each
of these programs would be the start of TensorFlow. With --families also the models of tests/conformance.py.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import re
import runpy
import sys
import tempfile

import keras
import numpy as np

import kvae

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(program, *arguments: str) -> None:
    """What `python program arguments` does, or for a name `python -m program arguments`."""
    sys.argv = [str(program), *arguments]
    try:
        (runpy.run_path if isinstance(program, pathlib.Path) else runpy.run_module)(str(program), run_name="__main__")
    except SystemExit as end:
        assert not end.code, f"{program} ended with {end.code}"


def readme() -> None:
    """The README's twelve lines; their file and their SavedModel."""
    lines = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)[0]
    names: dict = {}
    exec(compile(lines.replace("epochs=100", "epochs=3"), "README.md", "exec"), names)
    vae, again, x = names["vae"], kvae.load_model("digits.keras"), names["data"].test.x
    assert np.array_equal(vae.elbo(x, seed=1), again.elbo(x, seed=1)), "a loaded model is another one"
    assert pathlib.Path("saved_models/digits/1/saved_model.pb").exists()


def families() -> None:
    """Every family, objective and network in a model that makes a step, is saved and loaded, and draws."""
    sys.path.insert(0, str(ROOT))
    from tests import conformance

    models = dict(conformance.WHOLE)
    models |= {name: {"prior": conformance.PRIORS[name]} for name in conformance.CONDITIONAL}
    for name, parts in models.items():
        condition = np.arange(16) % 2 if name in conformance.CONDITIONAL else None
        vae = conformance.make_vae(**parts, compiled=False, conditional=condition is not None)
        vae.compile(keras.optimizers.SGD(1e-3), run_eagerly=True)
        x = conformance.examples(vae.likelihood, vae.event_shape, n=16)
        logs = vae.fit(x, condition, batch_size=16, verbose=0).history
        assert np.isfinite(logs["loss"]).all(), f"{name} has the loss {logs['loss']}"
        vae.save("family.keras")
        again, drawn = kvae.load_model("family.keras"), vae.sample(16, seed=1, condition=condition)
        assert np.array_equal(drawn, again.sample(16, seed=1, condition=condition)), f"{name} is another when loaded"
    print(f"{len(models)} models of all families: well.")


def main(with_families: bool) -> None:
    """Raise where anything fails."""
    run("kvae")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        readme()
        if with_families:
            families()
        short = ("--epochs=3", "--importance_samples=20", "--verbose=0")
        run(ROOT / "examples" / "train.py", *short, "--output=run", "--saved_models=saved_models")
        assert pathlib.Path("saved_models/digits/2/saved_model.pb").exists()
        assert pathlib.Path("run/model.keras").exists()


if __name__ == "__main__":
    main("--families" in sys.argv)
