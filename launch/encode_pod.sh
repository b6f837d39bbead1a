#!/usr/bin/env bash
# Encodes a data set into a cache of latents on all workers of a TPU slice.
#   bash launch/encode_pod.sh [--dry-run] TPU ZONE --workdir=... [overrides]
# Needs: what launch/tpu_pod.sh needs, and data and cache where all workers see
# them (a bucket). Each worker encodes its own shards, and needs no other.
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/platform.sh
source launch/platform.sh
if [[ -n $dry ]]; then shift; fi

if (($# < 2)); then
  echo 'usage: bash launch/encode_pod.sh [--dry-run] TPU ZONE [arguments]' >&2
  exit 2
fi
tpu=$1
zone=$2
shift 2

on_all() {
  run gcloud compute tpus tpu-vm ssh "$tpu" --zone="$zone" --worker=all \
    --command="$1"
}

# Addresses of the workers, the first of them first.
if [[ -n $dry ]]; then
  workers=(10.0.0.1 10.0.0.2)
  echo "# as if $tpu had the workers ${workers[*]}"
else
  mapfile -t workers < <(gcloud compute tpus tpu-vm describe "$tpu" \
    --zone="$zone" --flatten=networkEndpoints \
    --format='value(networkEndpoints.ipAddress)')
fi

archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
run git archive --format=tar.gz --output="$archive" HEAD
run gcloud compute tpus tpu-vm scp "$archive" "$tpu:framebridge_jax.tar.gz" \
  --zone="$zone" --worker=all
on_all 'mkdir -p framebridge_jax && tar xzf framebridge_jax.tar.gz -C framebridge_jax'
on_all "cd framebridge_jax && python3 -m venv .venv && .venv/bin/pip install --quiet --editable '.[tpu]'"

# A worker's own number is known to the worker alone, whose shell asks for it.
# shellcheck disable=SC2016
number='$(curl -s -H "Metadata-Flavor: Google" http://metadata.google.internal/computeMetadata/v1/instance/attributes/agent-worker-number)'
words=$(printf ' %q' "$@")
on_all "cd framebridge_jax && .venv/bin/python -m framebridge_jax.main \
--mode=encode --config.host=$number --config.hosts=${#workers[@]}$words"
