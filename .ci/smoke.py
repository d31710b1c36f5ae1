"""A short look at kvae on the Python that runs this: the report, the README's lines, a file, the main job in short."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    """Raise where anything fails."""
    subprocess.run([sys.executable, "-m", "kvae"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        lines = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)[0]
        names: dict = {}
        exec(compile(lines.replace("epochs=100", "epochs=3"), "README.md", "exec"), names)

        import numpy as np

        import kvae

        vae, again, x = names["vae"], kvae.load_model("digits.keras"), names["data"].test.x
        assert np.array_equal(vae.elbo(x, seed=1), again.elbo(x, seed=1)), "a loaded model is another one"
        assert pathlib.Path("saved_models/digits/1/saved_model.pb").exists()
        command = [sys.executable, str(ROOT / "examples" / "train.py"), "--epochs=3", "--importance_samples=20"]
        subprocess.run([*command, "--verbose=0", "--output=run", "--saved_models=saved_models"], check=True)
        assert pathlib.Path("saved_models/digits/2/saved_model.pb").exists()
        assert pathlib.Path("run/model.keras").exists()


if __name__ == "__main__":
    main()
