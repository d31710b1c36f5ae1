"""Compress arrays without loss with a trained model, and get them back.

    python examples/compress.py --model runs/digits/model.keras --encode digits.npy --output digits.kvae
    python examples/compress.py --model runs/digits/model.keras --decode digits.kvae --output digits.npy
    python examples/compress.py --model model.keras --encode arrays --output packed  # all .npy files of a folder
    python examples/compress.py --model model.keras --decode packed --output arrays

An array has the shape `[N, *event_shape]` and integers that the likelihood explains. A file becomes a file, and a
folder a folder: arrays/a.npy becomes packed/a.kvae. Encoding is checked by decoding. Needs the package constriction.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags

FLAGS = flags.FLAGS


def run(model, encode=None, decode=None, output=None) -> list[Path]:
    """Encode or decode, and return the files written; the arguments are the flags."""
    source = Path(encode or decode)
    jobs = files_of(source, Path(output), *((".npy", ".kvae") if encode else (".kvae", ".npy")))
    command_line.check_writable(Path(output).parent)
    import kvae

    vae = kvae.load_model(model)
    for number, (before, after) in enumerate(jobs, start=1):
        begun = time.perf_counter()
        count = (_encoded if encode else _decoded)(vae, before, after)
        rate = count / (time.perf_counter() - begun)
        sizes = f"{before.stat().st_size:,} to {after.stat().st_size:,} bytes"
        print(f"{number} of {len(jobs)}: {after}, {count} examples, {sizes}, {rate:.0f} examples/s")
    return [after for _, after in jobs]


def files_of(source: Path, output: Path, ending: str, other: str) -> list[tuple[Path, Path]]:
    """What is read, with what is written."""
    if not source.exists():
        raise FileNotFoundError(f"There is no {source}. Give a {ending} file, or a folder of them.")
    if source.is_file():
        return [(source, output / source.with_suffix(other).name if output.is_dir() else output)]
    found = sorted(source.rglob(f"*{ending}"))
    if not found:
        raise FileNotFoundError(f"There are no {ending} files in {source}. Give a folder that has some.")
    return [(path, (output / path.relative_to(source)).with_suffix(other)) for path in found]


def _encoded(vae, before: Path, after: Path) -> int:
    import numpy as np

    import kvae

    try:
        x = np.load(before, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{before} is not a whole .npy file: {error}") from error
    content = kvae.compress.encode(vae, x)
    command_line.write_whole(after, lambda file: file.write(content))
    return len(x)


def _decoded(vae, before: Path, after: Path) -> int:
    import numpy as np

    import kvae

    try:
        x = kvae.compress.decode(vae, before.read_bytes())
    except ValueError as error:
        raise ValueError(f"{before}: {error}") from error
    command_line.write_whole(after, lambda file: np.save(file, x))
    return len(x)


def _define_flags():
    flags.DEFINE_string("model", None, "a .keras file", required=True)
    flags.DEFINE_string("encode", None, "a .npy file, or a folder of them")
    flags.DEFINE_string("decode", None, "a .kvae file that this program wrote, or a folder of them")
    flags.DEFINE_string("output", None, "the file or the folder to write", required=True)


def main(argv):
    """Read the flags and run."""
    if (FLAGS.encode is None) == (FLAGS.decode is None):
        raise app.UsageError("Give one of --encode and --decode.")
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
