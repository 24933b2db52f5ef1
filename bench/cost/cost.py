"""Costs that need no clock: measures them, and holds them against table.csv (see README.md)."""

import argparse
import csv
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import loops

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "bench" / "cost"
TABLE = HERE / "table.csv"
COLUMNS = ["tool", "on", "what", "unit", "cost", "bound", "memory"]
ALLOWED = 1.03
NOT_CHECKED = 77  # the status by which a test says that it did not run

# The build whose instructions are counted, and the one whose compiler flags are wanted only.
BUILDS = {"build-cost": [], "build-cost-arm64": ["--cross-file", "scripts/aarch64-linux-gnu.ini"]}
OPTIONS = ["-Dbuildtype=release", "-Dtests=disabled", "-Dbench=disabled", "-Dexamples=false", "-Dneon_simde=disabled"]


def run(*command, cwd=ROOT):
    result = subprocess.run(command, cwd=cwd, text=True, capture_output=True)
    if result.returncode:
        sys.exit(f"cost: {shlex.join(map(str, command))} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def set_up():
    for build, options in BUILDS.items():
        if not (ROOT / build / "build.ninja").exists():
            run("env", "CC=gcc-12", "meson", "setup", build, *OPTIONS, *options)


def compile_command(build, library):
    """How the build compiles one tier: compiler and flags, without files."""
    for entry in json.loads((ROOT / build / "compile_commands.json").read_text()):
        if f"/lib{library}.a.p/" in entry["output"]:
            words = shlex.split(entry["command"])
            for flag in ("-MQ", "-MF", "-o", "-c"):
                at = words.index(flag)
                del words[at : at + 2]
            return [word for word in words if word != "-MD"]
    sys.exit(f"cost: {build} has no {library}")


def first_line(*command):
    return run(*command, "--version").splitlines()[0].strip()


def tools():
    """What the costs depend on, beside the code."""
    mca = re.search(r"LLVM version \S+", run(loops.MCA, "--version"))[0]
    compilers = [first_line(compile_command(build, "xent_scalar_f32")[0]) for build in BUILDS]
    return [*compilers, "llvm-mca " + mca, first_line("valgrind")]


def instructions():
    """Instructions a call runs in callgrind, per element or call."""
    run("ninja", "-C", "build-cost", "libxent.a")
    program = ROOT / "build-cost" / "calls"
    run(compile_command("build-cost", "xent_scalar_f32")[0], "-O2", "-static", "-Wall", "-Wextra", "-Iinclude",
        HERE / "calls.c", "build-cost/libxent.a", "-lm", "-o", program)
    with tempfile.TemporaryDirectory() as directory:
        run("valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={directory}/out", program)
        for dump in sorted(Path(directory).iterdir(), key=lambda path: int(path.suffix[1:] or 0)):
            text = dump.read_text()
            if name := re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M):
                tier, what, unit, units = name[1].split("|")
                total = int(re.search(r"^totals: (\d+)$", text, re.M)[1])
                yield ["callgrind", tier, what, unit, f"{total / int(units):.3f}", "", ""]


def cycles():
    """Cycles of the hot loops in llvm-mca, per element."""
    for target in loops.TARGETS:
        for precision, element_bytes in {"f32": 4, "f64": 8}.items():
            command = compile_command(target.build, f"xent_{target.tier}_{precision}")
            assembly = run(*command, "-w", "-I..", "-S", "-o", "-", HERE / "loops.c", cwd=ROOT / target.build)
            for loop in loops.of_assembly(assembly, target, element_bytes):
                numbers = ["" if n is None else f"{n:.3f}" for n in (loop.cycles, loop.bound, loop.memory)]
                yield ["llvm-mca", target.cpu, f"{loop.name} {precision}", "element", *numbers]


def read_table():
    """The compilers and tools of the committed table, and its costs by row."""
    lines = TABLE.read_text().splitlines()
    known = [line[2:] for line in lines if line.startswith("# ")]
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return known, {tuple(row[c] for c in COLUMNS[:4]): float(row["cost"]) for row in rows}


def write_table(rows, with_tools):
    with TABLE.open("w", newline="") as file:
        file.writelines(f"# {tool}\n" for tool in with_tools)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])


def print_rows(rows, before):
    for row in rows:
        was = before.get(tuple(row[:4]))
        ratio = f"{float(row[4]) / float(row[5]):6.2f} x bound" if row[5] else ""
        change = f"{100 * (float(row[4]) / was - 1):+7.1f} %" if was else ""
        print(f"{row[0]:9}  {row[1]:14}  {row[2]:42}  {float(row[4]):9.3f} / {row[3]:7}  {change:9}  {ratio}".rstrip())


def check(rows, before):
    """Names every row that does not agree with the table; 1 if one of them fails."""
    failed = 0
    after = {tuple(row[:4]): float(row[4]) for row in rows}
    for key in [*after, *(key for key in before if key not in after)]:
        name, now, was = " ".join(key[:3]), after.get(key), before.get(key)
        if now is None or was is None:
            print(f"cost: {name}: {'not in the table' if was is None else 'in the table, but not measured'}")
        elif now > was * ALLOWED:
            print(f"cost: {name}: {was} grew to {now} (+{100 * (now / was - 1):.1f} %)")
        else:
            if now * ALLOWED < was:
                print(f"cost: {name}: {was} shrank to {now} ({100 * (now / was - 1):.1f} %): please --update")
            continue
        failed = 1
    print(f"cost: {len(rows)} rows, {'not as the table has them' if failed else 'none grew by more than 3 %'}")
    return failed


def main():
    parser = argparse.ArgumentParser(prog="cost.sh", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the table instead of checking it")
    parser.add_argument("--print", action="store_true", help="print every row, and its change, beside checking it")
    wanted = parser.parse_args()
    set_up()
    known, before = read_table() if TABLE.exists() else ([], {})
    here = tools()
    if not wanted.update and known != here:
        print("cost: not checked. The table is of", *(f"  {tool}" for tool in known), "but here are",
              *(f"  {tool}" for tool in here), sep="\n")
        return NOT_CHECKED
    rows = [*instructions(), *cycles()]
    if wanted.print:
        print_rows(rows, before)
    if wanted.update:
        write_table(rows, here)
        return 0
    return check(rows, before)


if __name__ == "__main__":
    sys.exit(main())
