#!/usr/bin/env bash
# Trains on the embedded data, animates held-out first frames and writes
# runs/quickstart/report.html: the main job, on CPU, in minutes.
#   bash launch/quickstart.sh [arguments of the training command]
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

run() {
  echo "+ $*"
  "$@"
}

# Two devices of a thread each keep two cores busier than one device of two
# threads, oneDNN multiplies weight gradients faster, and huge pages spare the
# kernel a third of the time (docs/training.md).
if [[ "$(uname -sm)" == 'Linux x86_64' ]]; then
  export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
  export XLA_FLAGS="${XLA_FLAGS:---xla_force_host_platform_device_count=2 --xla_cpu_use_onednn=true}"
fi

enter_environment
install_package .
run python -m framebridge_jax.main --mode=train \
  --config=configs/quickstart.py --workdir=runs/quickstart "$@"
# Fewer steps than the default 20, to stay within minutes.
run python -m framebridge_jax.main --mode=evaluate --workdir=runs/quickstart \
  --config.num_steps=12
run python -m framebridge_jax.main --mode=report --workdir=runs/quickstart
