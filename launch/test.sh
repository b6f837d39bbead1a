#!/usr/bin/env bash
# Installs what the tests need and runs the default suite, a process a core.
#   bash launch/test.sh [arguments of pytest]
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

enter_environment
install_package '.[test]'
python -m pytest -q -n logical --dist loadfile "$@"
