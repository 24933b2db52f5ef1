"""Finds the hot loops of loops.c in gcc's assembly, and asks llvm-mca for their cycles."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass

MCA = "llvm-mca-19"
PASSES = 200


@dataclass(frozen=True)
class Target:
    build: str
    tier: str
    cpu: str
    triple: str
    pipes: str = ""  # its vector pipes, in llvm-mca's names
    memory: str = ""  # and those that load and store


TARGETS = [
    Target("build-cost", "avx512", "znver4", "x86_64"),
    Target("build-cost", "avx512", "sapphirerapids", "x86_64"),
    Target("build-cost-arm64", "neon", "neoverse-v2", "aarch64", r"V2UnitV\d", r"V2UnitL"),
    Target("build-cost-arm64", "neon", "neoverse-n1", "aarch64", r"N1UnitV\d", r"N1UnitL"),
]


@dataclass(frozen=True)
class Loop:
    name: str
    elements: int  # a pass
    cycles: float  # an element
    bound: float | None  # likewise, of the vector pipes alone
    memory: float | None  # of those that load and store, but for the stack and constants


def functions(assembly):
    """Name and lines of each function."""
    for name, body in re.findall(r"^(\w+):\n(.*?)^\t\.size\t\1,", assembly, re.M | re.S):
        if re.match(r"(loads|stores)\d_", name):
            yield name, [line.split("//")[0].strip() for line in body.splitlines()]


def is_instruction(line):
    return line and line[0] not in ".#" and not line.endswith(":")


def innermost_loops(lines):
    """First and last line of each loop, from a label to a branch back to it, that has none inside."""
    labels, loops = {}, []
    for at, line in enumerate(lines):
        if line.endswith(":"):
            labels[line[:-1]] = at
        elif (branch := re.fullmatch(r"(?:j|b|cb|tb)\S*\s+(?:.*, *)?(\.L\w+)", line)) and branch[1] in labels:
            loops.append((labels[branch[1]], at))
    for first, last in loops:
        if not any(first <= other and end <= last for other, end in loops if (other, end) != (first, last)):
            yield first, last


BYTES = {"x": 16, "y": 32, "z": 64, "v": 16, "q": 16}  # whole vectors: single lanes are table look-ups


@dataclass(frozen=True)
class Transfers:
    loads: int
    stores: int
    lines: list  # those that do
    ours: set  # registers that hold addresses of the stack or of constants at the end
    always: set  # and those that never hold another


def transfers(lines, triple, given=()):
    """How many bytes vector instructions load and store in all lines, but on the stack and of constants:
    an address is one of those if it was last formed from the stack pointer, a symbol, or the given
    registers."""
    x86 = triple == "x86_64"
    fixed = r"%rsp|%rip" if x86 else r"\bsp\b|:lo12:|\badrp\b"
    names, other = set(given), set()  # registers that hold such an address; that once held another
    loads, stores, moving = 0, 0, []
    for at, line in enumerate(lines):
        loaded = stored = 0
        mnemonic, _, operands = line.partition("\t")
        ours = re.search(fixed, line) or names & set(re.findall(r"%r\w+|\bx\d+", operands))
        memory = re.search(r"[^\s,]*\([^)]*\)" if x86 else r"\[x[^]]*\]", operands)
        vectors = re.findall(r"%([xyz])mm" if x86 else r"\b([vq])\d", operands)
        general = re.search(r"(%r\w+)$" if x86 else r"^(x\d+)\b", operands)
        single = re.match(r"v?mov(s|[lh]p)[sd]$", mnemonic) or "{1to" in line or "}[" in line
        if memory and vectors and not ours and not single:
            width = max(BYTES[v] for v in vectors) if x86 else sum(BYTES[v] for v in vectors)
            if re.match(r"\w+\t.*\)(\{.*)?$", line) if x86 else mnemonic.startswith("st"):
                stored = width
            else:
                loaded = width
        elif general and not mnemonic.startswith(("cmp", "test", "tst", "st", "cb", "tb")):
            loading = memory and not mnemonic.startswith("lea")  # what lies there is another address
            if ours and not loading and mnemonic.startswith(("add", "sub", "mov", "lea")):
                names.add(general[1])
            else:
                names.discard(general[1])
                other.add(general[1])
        loads += loaded
        stores += stored
        moving += [at] if loaded or stored else []
    return Transfers(loads, stores, moving, names, names - other)


def modelled(loop, moving, target):
    """llvm-mca's cycles for one pass, and those that its vector pipes need at the least, and for the moving lines its load
    and store pipes."""
    source = "".join(f"\t{line}\n" for line in loop)
    command = [MCA, f"-mtriple={target.triple}", f"-mcpu={target.cpu}", f"-iterations={PASSES}", "-json"]
    result = subprocess.run(command, input=source, text=True, capture_output=True)
    if result.returncode:
        sys.exit(f"cost: {' '.join(command)} failed:\n{result.stderr}")
    report = json.loads(result.stdout)
    region = report["CodeRegions"][0]

    def work(names, instructions):
        pipes = {i for i, name in enumerate(report["TargetInfo"]["Resources"]) if names and re.match(names, name)}
        uses = [use["ResourceUsage"] for use in region["ResourcePressureView"]["ResourcePressureInfo"]
                if use["InstructionIndex"] in instructions and use["ResourceIndex"] in pipes]
        return sum(uses) / len(pipes) if pipes else None

    # The rows beyond the last instruction hold the sums.
    return region["SummaryView"]["TotalCycles"] / PASSES, work(target.pipes, {len(loop)}), work(target.memory, moving)


def of_assembly(assembly, target, element_bytes):
    """The loop of each function that moves the most elements a pass, and of several the shortest."""
    for function, lines in functions(assembly):
        counted, arrays, name = re.fullmatch(r"(loads|stores)(\d)_(\w+)", function).groups()
        always = transfers(lines, target.triple).always
        loops = []
        for first, last in innermost_loops(lines):
            before = transfers(lines[:first], target.triple).ours
            body = [line for line in lines[first : last + 1] if is_instruction(line)]
            moved = transfers(body, target.triple, before | always)
            loops.append((getattr(moved, counted) / int(arrays) / element_bytes, moved.lines, body))
        elements, moving, loop = max(loops, key=lambda loop: (loop[0], -len(loop[2])), default=(0, [], []))
        if not elements:
            sys.exit(f"cost: no loop found in {function} for {target.cpu}")
        cycles, bound, memory = modelled(loop, moving, target)
        yield Loop(name.replace("_", " "), int(elements), cycles / elements, bound and bound / elements,
                   memory and memory / elements)
