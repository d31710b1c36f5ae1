#!/usr/bin/env bash
#SBATCH --job-name=kvae
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
# Four workers, one on each node, started from the folder of this repository, which all nodes share.
#
#     sbatch examples/cluster/slurm.sh --epochs=150 --batch_size=400
#
# The arguments are flags of train.py. When one worker dies, Slurm ends the others, and the whole job begins again from
# the last checkpoint, three times at most. A job that Slurm requeues goes on in the same way.
set -euo pipefail

port=$((20000 + SLURM_JOB_ID % 10000)) # other jobs on these nodes have other ports
WORKERS="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd,)"
export WORKERS

for attempt in 1 2 3 4; do
  srun --kill-on-bad-exit=1 bash -euc '
    export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec python examples/train.py --distribute=multiworker --verbose=2 "$@"
  ' train "$@" && exit 0
  echo "A worker ended badly in attempt $attempt of 4." >&2
done
exit 1
