#!/usr/bin/env bash
# Runs the command line as several processes on this machine, which train as
# one: the same code as on several hosts.
#   bash launch/local_processes.sh [--dry-run] PROCESSES [arguments]
# DEVICES is how many virtual CPU devices each process has (2), PORT where they
# meet, with the port behind it (12355).
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/platform.sh
source launch/platform.sh
if [[ -n $dry ]]; then shift; fi

if [[ ! ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  echo 'usage: bash launch/local_processes.sh [--dry-run] PROCESSES [arguments]' >&2
  exit 2
fi
processes=$1
shift

export JAX_PLATFORMS=cpu
export XLA_FLAGS="--xla_force_host_platform_device_count=${DEVICES:-2}"
export JAX_COORDINATOR_ADDRESS="localhost:${PORT:-12355}"
export JAX_NUM_PROCESSES=$processes

command=(python -m framebridge_jax.main)
if [[ -n $dry ]]; then
  for ((i = 0; i < processes; i++)); do
    printf 'JAX_PLATFORMS=%s XLA_FLAGS=%s JAX_COORDINATOR_ADDRESS=%s ' \
      "$JAX_PLATFORMS" "$XLA_FLAGS" "$JAX_COORDINATOR_ADDRESS"
    printf 'JAX_NUM_PROCESSES=%s JAX_PROCESS_ID=%s ' "$processes" "$i"
    printf '%q ' "${command[@]}" "$@"
    printf '\n'
  done
  exit 0
fi

enter_environment

pids=()
# shellcheck disable=SC2329  # the trap calls it
stop() { kill -TERM "${pids[@]}" 2>/dev/null || true; }
trap stop TERM INT
for ((i = 0; i < processes; i++)); do
  JAX_PROCESS_ID=$i "${command[@]}" "$@" &
  pids+=($!)
done
# The first code that is not 0 is the code of all.
code=0
for pid in "${pids[@]}"; do
  while true; do
    one=0
    wait "$pid" || one=$?
    # A trapped signal ends the waiting, not the process.
    kill -0 "$pid" 2>/dev/null || break
  done
  ((code)) || code=$one
done
exit "$code"
