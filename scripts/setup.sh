#!/bin/sh
# Installs what is missing to work on xent:
#
#   sh scripts/setup.sh [build] [test] [bench] [peers] [arm64] [clang] [cost] [python]
#
#   build  the library and its examples (this one if nothing is named)
#   test   the tests too
#   bench  the benchmarks too
#   peers  what the side-by-side benchmark (peers.sh) takes beside them
#   arm64  what cross-builds all of these for arm64 and runs them under emulation
#   clang  clang, beside gcc
#   cost   what scripts/cost.sh counts instructions with
#   python Python with its venv module, for tests/conformance/run.sh
#
# On Debian and Ubuntu it installs packages, as root or through sudo, without a
# question; elsewhere it names what to install. If everything is there it does nothing.
set -eu

missing_packages= # as Debian names them
missing_names=    # as people do, one a line

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# need PACKAGES NAME CHECK...: notes what is missing unless the command CHECK succeeds.
need() {
    packages=$1
    name=$2
    shift 2
    case "$missing_packages " in
        *" $packages "*) return ;; # already noted
    esac
    if ! "$@"; then
        missing_packages="$missing_packages $packages"
        missing_names="$missing_names
  $name"
    fi
}

has_command() {
    command -v "$1" > /dev/null 2>&1
}

# has_header LANGUAGE HEADER COMPILER...
has_header() {
    language=$1
    header=$2
    shift 2
    printf '#include <%s>\n' "$header" | "$@" -x "$language" -E - > /dev/null 2>&1
}

# A compiler that does not find a library answers with the bare file name.
has_arm64_library() {
    case $(aarch64-linux-gnu-gcc -print-file-name="lib$1.so" 2> /dev/null) in
        */*) true ;;
        *) false ;;
    esac
}

has_meson() {
    meson --version 2> /dev/null |
        awk -F. '{ new = $1 > 1 || ($1 == 1 && ($2 > 0 || $3 >= 1)) } END { exit !new }'
}

# CC and CXX may hold arguments ("ccache gcc"), so they stay unquoted.
# shellcheck disable=SC2086
need_build() {
    need "gcc libc6-dev" "gcc or clang, with the C library's headers" \
        has_header c stdlib.h ${CC:-cc}
    need meson "Meson, 1.0.1 or newer" has_meson
    need ninja-build "Ninja" has_command ninja
    need pkg-config "pkg-config" has_command pkg-config
    need libsimde-dev "SIMDe's headers" has_header c simde/simde-common.h ${CC:-cc}
}

# shellcheck disable=SC2086
need_test() {
    need_build
    need libcmocka-dev "cmocka" has_header c cmocka.h ${CC:-cc}
}

# shellcheck disable=SC2086
need_bench() {
    need_build
    need "g++" "g++ or clang++, with the C++ library's headers" has_header c++ vector ${CXX:-c++}
    need libbenchmark-dev "Google Benchmark" has_header c++ benchmark/benchmark.h ${CXX:-c++}
}

has_venv() {
    python3 -c 'import ensurepip, venv' > /dev/null 2>&1
}

need_peers() {
    need_bench
    need_python
}

need_arm64() {
    need_test
    need_bench
    case $(uname -m) in
        aarch64 | arm64) return ;; # nothing to cross
    esac
    need "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" "gcc for aarch64-linux-gnu" \
        has_header c stdlib.h aarch64-linux-gnu-gcc
    need g++-aarch64-linux-gnu "g++ for aarch64-linux-gnu" \
        has_header c++ vector aarch64-linux-gnu-g++
    need qemu-user "QEMU's user emulation (qemu-aarch64)" has_command qemu-aarch64
    need libcmocka-dev:arm64 "cmocka for aarch64-linux-gnu" has_arm64_library cmocka
    need libbenchmark-dev:arm64 "Google Benchmark for aarch64-linux-gnu" \
        has_arm64_library benchmark
    need libgomp1:arm64 "OpenMP's run time for aarch64-linux-gnu" \
        test -e /usr/lib/aarch64-linux-gnu/libgomp.so.1
}

# The sanitizers' run time comes apart from the compiler.
has_clang_sanitizers() {
    printf 'int main(void) { return 0; }\n' |
        clang -x c -fsanitize=address,undefined -o /dev/null - > /dev/null 2>&1
}

need_clang() {
    need clang "clang" has_command clang
    need libclang-rt-14-dev "clang's sanitizers" has_clang_sanitizers
}

need_cost() {
    need_build
    need gcc-12 "gcc 12" has_command gcc-12
    need "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" "gcc for aarch64-linux-gnu" \
        has_header c stdlib.h aarch64-linux-gnu-gcc
    need valgrind "Valgrind" has_header c valgrind/callgrind.h gcc-12
    need llvm-19 "LLVM 19 (llvm-mca-19)" has_command llvm-mca-19
    need python3 "Python 3" has_command python3
}

need_python() {
    need "python3 python3-venv" "Python 3 with its venv module" has_venv
}

# find_missing WHAT...: sets missing_packages and missing_names.
find_missing() {
    missing_packages=
    missing_names=
    for what in "$@"; do
        case $what in
            build | test | bench | peers | arm64 | clang | cost | python) "need_$what" ;;
            *) fail "unknown: $what (known: build test bench peers arm64 clang cost python)" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has_command sudo; then
        sudo "$@"
    else
        fail "to install$missing_packages, run this as root"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
}

# A package source of somebody else's may be out of reach and not matter here: whether
# the packages can be had shows when they are installed.
update_lists() {
    apt_get update || echo "setup: apt-get update failed; going on with the lists there are" >&2
}

# The libraries for arm64 install beside this machine's own once dpkg is told of the
# architecture. Not every source carries it: then dpkg is told no more of it, for apt
# would complain ever after.
allow_arm64() {
    if dpkg --print-foreign-architectures | grep -qx arm64; then
        update_lists
        return
    fi
    as_root dpkg --add-architecture arm64
    update_lists
    if ! apt-cache show libcmocka-dev:arm64 > /dev/null 2>&1; then
        as_root dpkg --remove-architecture arm64
        update_lists
        fail "the package sources of this system have no arm64 packages" \
            "(Ubuntu keeps them on its ports mirror)"
    fi
}

[ $# -gt 0 ] || set -- build
find_missing "$@"
[ -n "$missing_packages" ] || exit 0

if ! has_command apt-get; then
    fail "please install:$missing_names"
fi

echo "setup: installing$missing_packages"
case $missing_packages in
    *:arm64*) allow_arm64 ;;
    *) update_lists ;;
esac
# shellcheck disable=SC2086 # a list of packages, one word each
apt_get -y --no-install-recommends install $missing_packages

find_missing "$@"
[ -z "$missing_names" ] || fail "installed, but this is still not found:$missing_names"
