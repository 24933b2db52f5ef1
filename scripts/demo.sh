#!/bin/sh
# Builds the library and runs its examples. Installs what is missing first (setup.sh).
#
#   sh scripts/demo.sh
set -eu

cd -- "$(dirname -- "$0")/.."

sh scripts/setup.sh build
[ -f build/build.ninja ] || meson setup build -Dbuildtype=release
ninja -C build

run() {
    printf '\n==== %s ====\n\n' "$1"
    "build/examples/$2"
}

run "Handwritten digits: a small network, trained on the cross-entropy" train_digits
run "Breast cancer: logistic regression, trained on the binary cross-entropy" train_breast_cancer
run "The losses, forward and backward" losses
