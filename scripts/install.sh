#!/usr/bin/env bash
# Creates .venv and installs a lock file into it: scripts/install.sh requirements.lock
# Says in one line what is missing on this machine, and exits with 2.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1

refuse() { echo "error: $1" >&2; exit 2; }

python=
for candidate in "${PYTHON:-python3.11}" python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || refuse "Python 3.11 not found: install it, or name it: make PYTHON=/path/to/python3.11"

command -v java >/dev/null || refuse "Java not found, and Spark needs 17 or newer: apt-get install openjdk-17-jre-headless"
java_version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${java_version:-0}" -ge 17 ] || refuse "Java ${java_version:-of an unknown version} found, and Spark needs 17 or newer: apt-get install openjdk-17-jre-headless"
java --list-modules | grep -q '^jdk.incubator.vector' || refuse "this Java lacks the module jdk.incubator.vector, which Spark needs: use a full OpenJDK"

if [ ! -x .venv/bin/uv ]; then
    echo "▸ creating .venv"
    "$python" -m venv .venv || refuse "$python can't make a virtual environment: apt-get install python3.11-venv"
    .venv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'
fi

# A folder of wheels, where one is named, holds the build of torch that this machine should have.
backend=()
if [ -n "${PIP_FIND_LINKS:-}${UV_FIND_LINKS:-}" ]; then
    export UV_FIND_LINKS=${UV_FIND_LINKS:-$PIP_FIND_LINKS}
elif command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    backend=(--torch-backend auto)
else
    backend=(--torch-backend cpu)
fi

echo "▸ installing $lock"
started=$SECONDS
# Compiled now, once: a cluster starts a dozen Python processes, and each would compile it again.
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python "${backend[@]}" --requirement "$lock"
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
echo "✓ installing $lock  $((SECONDS - started)) s"
