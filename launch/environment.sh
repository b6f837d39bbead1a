# shellcheck shell=bash
# Sourced by the other launchers: finds Python 3.11 or 3.12, enters the active
# virtual environment or .venv (made when missing), and moves to the root of
# the repository. PYTHON chooses the interpreter that makes .venv.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
    >/dev/null 2>&1
}

find_python() {
  local candidates=(python3.12 python3.11 python3 python)
  if [[ -n "${PYTHON:-}" ]]; then candidates=("$PYTHON"); fi
  local candidate
  for candidate in "${candidates[@]}"; do
    if supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "No Python 3.11 or 3.12 among: ${candidates[*]}." \
    'Install one, or name it: PYTHON=/path/to/python3.12 bash launch/...' >&2
  return 1
}

enter_environment() {
  if [[ -n "${VIRTUAL_ENV:-}" ]]; then
    if ! supported "$VIRTUAL_ENV/bin/python"; then
      echo "The active environment $VIRTUAL_ENV is not Python 3.11 or 3.12." \
        "Leave it with deactivate; then .venv is used." >&2
      return 1
    fi
  else
    # An interrupted start may leave a folder without pip: make it anew.
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
      local python
      python=$(find_python)
      echo "Making .venv with $("$python" --version)."
      "$python" -m venv --clear .venv
    fi
    VIRTUAL_ENV="$PWD/.venv"
    if ! supported .venv/bin/python; then
      echo '.venv is not Python 3.11 or 3.12. Remove it and start again.' >&2
      return 1
    fi
  fi
  export VIRTUAL_ENV PATH="$VIRTUAL_ENV/bin:$PATH"
}

# Usage: install_package '.[test]'
install_package() {
  echo "Installing $1 into $VIRTUAL_ENV."
  python -m pip install --quiet --disable-pip-version-check --editable "$1"
}
