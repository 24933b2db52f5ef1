#!/bin/sh
# Times xent and its peers side by side: PyTorch, JAX, TensorFlow, ONNX Runtime, oneDNN. Installs
# what is missing first: packages (setup.sh), and the peers into a virtual environment under
# build/peers (5 GB). A peer that can't be had is left out, and named.
#
#   sh scripts/peers.sh                     all: bench/results/CPU.json, and the plots in docs/
#   sh scripts/peers.sh --quick             some shapes, in 3 minutes; results go to build/peers
#   sh scripts/peers.sh --only softmax --peers onednn,torch
#
# On a quiet machine: whatever else runs is in the times.
set -eu

cd -- "$(dirname -- "$0")/.."
work=build/peers
venv=$work/venv
python=$venv/bin/python

sh scripts/setup.sh peers
mkdir -p "$work"
[ -x "$python" ] || python3 -m venv "$venv"

# install NAME REQUIREMENT...
install() {
    name=$1
    shift
    [ ! -f "$work/installed-$name" ] || return 0
    echo "peers: installing $name" >&2
    if "$python" -m pip install -qq --disable-pip-version-check "$@" >&2; then
        : > "$work/installed-$name"
    else
        echo "peers: $name could not be installed, going on without it" >&2
    fi
}

install tools numpy matplotlib
install torch torch==2.13.0
install jax jax
install tensorflow tensorflow-cpu
install onnxruntime onnxruntime onnx
install onednn onednn onednn-devel

[ -f "$work/xent/build.ninja" ] ||
    meson setup "$work/xent" -Dbuildtype=release -Dtests=disabled -Dexamples=false -Dbench=enabled > "$work/meson.log"
ninja -C "$work/xent" bench/xent_worker > "$work/ninja.log" || { cat "$work/ninja.log" >&2; exit 1; }

onednn=$work/onednn_worker
# shellcheck disable=SC2086 # CXX may hold arguments
if [ -f "$work/installed-onednn" ] && [ ! "$onednn" -nt bench/peers/onednn_worker.cc ]; then
    ${CXX:-c++} -std=c++17 -O2 -isystem "$venv/include" bench/peers/onednn_worker.cc -o "$onednn" \
        "-L$venv/lib" -ldnnl "-Wl,-rpath-link,$venv/lib" || rm -f "$onednn"
fi

TORCHINDUCTOR_CACHE_DIR=$PWD/$work/inductor exec "$python" bench/peers/peers.py --root . --data "$work/data" \
    --xent "$work/xent/bench/xent_worker" --onednn "$onednn" "$@"
