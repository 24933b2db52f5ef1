#!/bin/sh
# Looks at a build: the shared library exports xent_ symbols only, the archive defines no
# other global ones; of others' functions the library calls a few harmless ones only; and no
# wide instruction is in code that runs before the dispatcher has asked the CPU.
#
#   sh scripts/check_binary.sh BUILD
set -eu

build=$1
fail() {
    printf 'check_binary: %s\n' "$*" >&2
    exit 1
}

strangers=$(nm -D --defined-only "$build/libxent.so" | awk '$3 !~ /^xent_/ { print $3 }')
[ -z "$strangers" ] || fail "libxent.so exports" "$strangers"
strangers=$(nm -g --defined-only "$build/libxent.a" | awk 'NF == 3 && $3 !~ /^xent_/ { print $3 }')
[ -z "$strangers" ] || fail "libxent.a defines" "$strangers"

# No malloc or free, no stream, no thread, no lock. snprintf writes an error's message, and
# getenv reads XENT_TIER. The rest is what the compiler and the linker put into any library.
allowed=' memcpy memset memmove memcmp strcmp snprintf vsnprintf getenv __errno_location fma fmaf
    __cxa_finalize __gmon_start__ _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable '
strangers=$(nm -D -u "$build/libxent.so" | sed 's/@.*//' |
    awk -v allowed="$allowed" 'BEGIN { split(allowed, names); for (i in names) known[names[i]] } !($NF in known) { print $NF }')
[ -z "$strangers" ] || fail "libxent.so calls" "$strangers"

# VEX and EVEX instructions all begin with v, and only they name ymm, zmm or mask registers.
for object in "$build"/libxent.so.*.p/dispatch_*.o "$build"/kernels/libxent_scalar*.a "$build"/kernels/libxent_sse2*.a; do
    wide=$(objdump -d --no-show-raw-insn "$object" |
        awk -F '\t' '$2 ~ /^v/ || $2 ~ /%[yz]mm/ || $2 ~ /%k[0-7]/ { print; exit }')
    [ -z "$wide" ] || fail "$object has wide instructions: $wide"
done
echo "check_binary: $build exports xent_ symbols only, calls nothing it must not, and its baseline code is baseline"
