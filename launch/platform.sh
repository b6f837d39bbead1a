# shellcheck shell=bash
# Sourced by launchers of clusters: the compiler's options of each platform, the
# cache of compiled programs, and --dry-run, with which `run` only prints.
#
# What they do: exchanges run while products are computed, instead of between
# them (latency hiding). XLA turns some of it on by itself; these are the rest.
# Yours, if set, are kept as they are.

platform_gpu() {
  export XLA_FLAGS="${XLA_FLAGS:---xla_gpu_enable_latency_hiding_scheduler=true}"
}

platform_tpu() {
  local options=(
    --xla_tpu_enable_async_collective_fusion=true
    --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true
    --xla_tpu_overlap_compute_collective_tc=true
    --xla_enable_async_all_gather=true
  )
  export LIBTPU_INIT_ARGS="${LIBTPU_INIT_ARGS:-${options[*]}}"
}

# Each host compiles once, and no more at the next start.
compile_cache() {
  export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$HOME/.cache/framebridge_jax}"
}

dry=''
# The first word of the arguments, and whether it was taken.
if [[ ${1:-} == --dry-run ]]; then dry=yes; fi

run() {
  local word line='+'
  for word in "$@"; do
    if [[ ! $word =~ ^[A-Za-z0-9_./=:,@+-]+$ ]]; then word=${word@Q}; fi
    line+=" $word"
  done
  echo "$line"
  if [[ -z $dry ]]; then "$@"; fi
}
