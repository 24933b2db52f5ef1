#!/bin/sh
# Counts instructions and modelled cycles of the kernels, and fails if one grew by more than 3 %
# over bench/cost/table.csv. Installs what is missing first (setup.sh).
#
#   sh scripts/cost.sh            checks
#   sh scripts/cost.sh --print    checks, and prints every row
#   sh scripts/cost.sh --update   writes the table
#
# Status 1: a row grew; 77: not checked, for the table is of another compiler.
set -eu

cd -- "$(dirname -- "$0")/.."

sh scripts/setup.sh cost
exec python3 bench/cost/cost.py "$@"
