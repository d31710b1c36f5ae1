"""Run a program as several workers on this machine, and the whole job again where one of them dies.

    python examples/launch_local.py --workers 2 -- --epochs 20 --output runs/two

What follows `--` are flags of `train.py`, which trains a part of each batch in every worker. The first worker prints
here, the others to files in --logs. When a worker ends with an error, the others are ended and all begin again, from
the last checkpoint. SIGTERM and Ctrl-C end them all.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

flags.DEFINE_integer("workers", 2, "how many", lower_bound=1)
flags.DEFINE_integer("restarts", 3, "of the whole job at most", lower_bound=0)
flags.DEFINE_string("logs", None, "folder of what the other workers print; by default a temporary one")

PROGRAM = Path(__file__).resolve().with_name("train.py")
PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL: a worker that waits for another does not listen


def start(arguments: list[str], workers: int, logs: Path) -> list[subprocess.Popen]:
    """The workers, with free ports of the loopback."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    processes = []
    for index in range(workers):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        output = None if index == 0 else (logs / f"worker-{index}.log").open("a")
        processes.append(
            subprocess.Popen(
                [sys.executable, str(PROGRAM), "--distribute=multiworker", *arguments],
                env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=output,
                stderr=output,
            )
        )
    return processes


def end(processes: list[subprocess.Popen]) -> None:
    """End those that still run: by SIGTERM, and where that is not heard by SIGKILL."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    last = time.monotonic() + PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(processes: list[subprocess.Popen]) -> int:
    """0 when all have ended well, or the status of the first that has not."""
    while True:
        states = [process.poll() for process in processes]
        failed = [state for state in states if state]
        if failed or None not in states:
            return failed[0] if failed else 0
        time.sleep(0.1)


def main(argv):
    """Start the workers, again where they fail, and end as they do."""
    options, processes = flags.FLAGS, []
    logs = Path(options.logs or tempfile.mkdtemp(prefix="kvae-workers-"))
    logs.mkdir(parents=True, exist_ok=True)

    def stop(number, frame):
        end(processes)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for attempt in range(options.restarts + 1):
        processes[:] = start(argv[1:], options.workers, logs)
        status = wait(processes)
        if status == 0:
            return
        end(processes)
        again = f"restart {attempt + 1} of {options.restarts}" if attempt < options.restarts else "no restart is left"
        print(f"A worker ended with status {status}; {again}. The others print to {logs}.", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    app.run(main)
