#!/bin/sh
# Builds the library and its tests, and runs them. Installs what is missing first (setup.sh).
#
#   sh scripts/test.sh           all tests
#   sh scripts/test.sh guard     one of them (meson test --list -C build names them)
set -eu

cd -- "$(dirname -- "$0")/.."

sh scripts/setup.sh test
[ -f build/build.ninja ] || meson setup build -Dbuildtype=release
meson configure build -Dtests=enabled
ninja -C build
status=0
meson test -C build --print-errorlogs "$@" || status=$?
# meson's own summary, as one line.
awk '/^(Ok|Expected Fail|Unexpected Pass|Fail|Skipped|Timeout): / { n[$1] += $NF }
     END { printf "%d passed, %d failed, %d skipped\n", n["Ok:"], n["Fail:"] + n["Timeout:"], n["Skipped:"] }' \
    build/meson-logs/testlog.txt
exit $status
