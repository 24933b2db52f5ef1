#!/bin/sh
# The conformance run against PyTorch: makes a virtual environment with the exact PyTorch that
# xent is compared with, once, and runs conformance.py in it.
#
#   sh tests/conformance/run.sh                         build/libxent.so
#   sh tests/conformance/run.sh --library other.so --seed 7 --only softmax
#
# The environment lies in build/venv-conformance, or where XENT_VENV says. Needs python3 with
# its venv module (Debian: python3 python3-venv) and, the first time, a package index.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$here")")
venv=${XENT_VENV:-$root/build/venv-conformance}
torch=2.13.0

has_torch() {
    "$venv/bin/python" -c "
import numpy, torch
raise SystemExit(torch.__version__.split('+')[0] != '$torch')" > /dev/null 2>&1
}

if ! has_torch; then
    if ! python3 -c 'import ensurepip, venv' > /dev/null 2>&1; then
        echo "conformance: please install python3 with its venv module (Debian: python3 python3-venv)" >&2
        exit 1
    fi
    echo "conformance: installing PyTorch $torch into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==$torch" numpy
fi
exec "$venv/bin/python" "$here/conformance.py" --root "$root" "$@"
