#!/usr/bin/env bash
# Trains on all GPUs of this machine, in one process.
#   bash launch/gpu_node.sh [--dry-run] --config=... --workdir=... [overrides]
# Needs: NVIDIA GPUs and their driver. GPUS chooses some: GPUS=0,1.
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/platform.sh
source launch/platform.sh
if [[ -n $dry ]]; then shift; fi

if (($# == 0)); then
  echo 'usage: bash launch/gpu_node.sh [--dry-run] --config=... --workdir=...' >&2
  exit 2
fi
if [[ -n ${GPUS:-} ]]; then export CUDA_VISIBLE_DEVICES=$GPUS; fi
platform_gpu
compile_cache
echo "XLA_FLAGS=$XLA_FLAGS JAX_COMPILATION_CACHE_DIR=$JAX_COMPILATION_CACHE_DIR"
if [[ -z $dry ]]; then
  nvidia-smi --list-gpus
  enter_environment
  install_package '.[gpu]'
fi
run python -m framebridge_jax.main --mode=train --config.require=gpu "$@"
