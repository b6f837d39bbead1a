#!/usr/bin/env bash
# Trains on the embedded data, animates held-out first frames and writes
# runs/quickstart/report.html: the main job, on CPU, in minutes.
#   bash launch/quickstart.sh [arguments of the training command]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run() {
  echo "+ $*"
  "$@"
}

enter_environment
install_package .
run python -m framebridge_jax.main --mode=train \
  --config=configs/quickstart.py --workdir=runs/quickstart "$@"
run python -m framebridge_jax.main --mode=evaluate --workdir=runs/quickstart
run python -m framebridge_jax.main --mode=report --workdir=runs/quickstart
