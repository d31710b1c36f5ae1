"""What `import kvae` adds to importing TensorFlow and TensorFlow Probability.

    python benchmarks/speed/start_up.py  # half a minute to two; writes its line of docs/performance.md
    python benchmarks/speed/start_up.py --keep     # prints only

Fresh processes that take turns; the ratio is the median over the rounds.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

from speed import replace_section

BEFORE = "import tensorflow; from tensorflow_probability import distributions"


def seconds(code: str) -> float:
    """Of a fresh process that runs this code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is")
    options = parser.parse_args()
    codes = BEFORE, f"{BEFORE}; import kvae"
    for code in codes:
        seconds(code)  # into the page cache
    ratios = []
    for _ in range(options.rounds):
        without, with_kvae = (seconds(code) for code in codes)
        ratios.append(with_kvae / without)
    low, middle, high = statistics.quantiles(ratios, n=4)
    text = f"`import kvae` beside `{BEFORE}`: {middle:.2f} ({low:.2f} to {high:.2f}) times as long."
    print(text)
    if not options.keep:
        replace_section(HERE.parents[1] / "docs" / "performance.md", "start-up", text)


if __name__ == "__main__":
    main()
