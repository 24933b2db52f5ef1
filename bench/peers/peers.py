"""Times xent and its peers, interleaved, and judges the targets.

Run by scripts/peers.sh, which installs and builds what this needs."""
import argparse
import contextlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import time

import cases
import data
import processes
import report
import targets
from processes import Participant
from truth import TOLERANCE, Truth

SLICE = 0.006          # seconds that a participant has in a round
ROUNDS = (5, 40)       # at least, at most
BUDGET = {"classes": 1.2, "rows": 1.2}
DEFAULT_BUDGET, QUICK_BUDGET = 4.0, 1.0


def cpu_model():
    """The name, and where family and model tell more of an x86, these."""
    fields = {}
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                key, _, value = line.partition(":")
                fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, [fields[key] for key in ("cpu family", "model") if key in fields]


def slug(name, numbers):
    words = re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", name.lower())
    return "-".join(re.findall(r"[a-z0-9]+", words) + numbers)


def commit(root):
    try:
        return subprocess.run(["git", "-C", root, "describe", "--always", "--dirty", "--exclude=*"], text=True,
                              capture_output=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def participants_of(case, workers):
    """xent first, then the speed of light, then the peers in each mode."""
    identity = iter(range(1000))
    common = {"op": case.op, "n": case.n, "c": case.c, "dtype": case.dtype, "layout": case.layout}
    xent = workers["xent", ""]

    def job(name, mode, worker, **words):
        return Participant(name, mode, worker, {**common, **words, "id": next(identity)})

    result = [job(name, "", xent, **words) for name, words in case.xent.items()]
    result += [job(op, "", xent, op=op, dtype="f32") for op in ("memcpy", "exp")]
    for peer in case.peers:
        op = case.op + ("+compiled" if peer == cases.COMPILE else "")
        for mode in cases.MODES:
            worker = workers.get((cases.WORKER_OF[peer], mode))
            if worker:
                result.append(job(peer, mode, worker, op=op))
    return result


def check(case, participants, truth, folder):
    """Each participant's worst error. A wrong result is not worth a time."""
    for p in participants:
        if p.name in ("memcpy", "exp"):
            continue
        path = os.path.join(folder, "checked")
        dtype, layout = p.words["dtype"], p.words["layout"]
        mean = p.attempt("check", path=path, count=truth.count(case.op, case.n, case.c))
        if mean is None:
            continue
        p.error = truth.error(case.op, dtype, case.n, case.c, layout, float(mean), path)
        if p.error > TOLERANCE[dtype]:
            p.failure = f"its result is wrong: an error of {p.error:.2g}"


def measure(case, participants, budget):
    start = time.monotonic()
    for done in range(ROUNDS[1]):
        if done >= ROUNDS[0] and time.monotonic() - start > budget:
            break
        # There and back: nobody always follows the same one.
        for p in participants if done % 2 == 0 else reversed(participants):
            seconds = p.attempt("run", seconds=SLICE)
            if seconds is not None:
                p.best = min(p.best, float(seconds))


def run_case(case, workers, truth, arguments):
    participants = participants_of(case, workers)
    for p in participants:
        p.attempt("prepare", **{key: value for key, value in p.words.items() if key != "id"})
    if case.compare:
        check(case, participants, truth, arguments.data)
    measure(case, participants, QUICK_BUDGET if arguments.quick else BUDGET.get(case.section, DEFAULT_BUDGET))
    for worker in {p.worker for p in participants}:
        try:
            worker.ask("drop")
        except processes.Failed:
            pass    # its next job will tell
    return {
        "section": case.section, "op": case.op, "n": case.n, "c": case.c, "dtype": case.dtype, "layout": case.layout,
        "ns": {key_of(p): p.best * 1e9 for p in participants if not p.failure},
        "error": {key_of(p): p.error for p in participants if p.error is not None},
        "failed": {key_of(p): p.failure for p in participants if p.failure},
    }


def key_of(participant):
    return participant.name + (f", {participant.mode}" if participant.mode else "")


def read_arguments():
    parser = argparse.ArgumentParser(prog="peers.sh", description="Times xent and its peers side by side.")
    parser.add_argument("--quick", action="store_true", help="fewer shapes, briefly: 3 minutes at most")
    parser.add_argument("--only", metavar="REGEX", help="the sections that it finds: softmax, strided, ...")
    parser.add_argument("--peers", metavar="LIST", type=lambda text: text.split(","),
                        help="these alone, of torch,jax,tensorflow,onnxruntime,onednn")
    parser.add_argument("--output", metavar="JSON", help="instead of bench/results/CPU.json")
    for name, what in (("xent", "worker"), ("onednn", "worker"), ("data", "folder"), ("root", "folder")):
        parser.add_argument(f"--{name}", required=True, metavar=what.upper(), help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = read_arguments()
    start = time.monotonic()
    name, numbers = cpu_model()
    whole = not (arguments.quick or arguments.only or arguments.peers)
    results = os.path.join(arguments.root, "bench", "results") if whole else os.path.dirname(arguments.data)
    output = arguments.output or os.path.join(results, slug(name, numbers) + ".json")
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)

    print(f"peers: {name}, starting the workers", file=sys.stderr)
    data.make(arguments.data)
    with open(os.path.join(arguments.data, "workers.log"), "w") as log:
        workers, versions, missing = processes.start(arguments, log)
        if ("xent", "") not in workers:
            sys.exit(f"peers: xent's worker does not run: {missing['xent']}")
        for peer, why in missing.items():
            print(f"peers: {peer} is missing, its rows go without it: {why}", file=sys.stderr)
        hello = dict(word.split("=") for word in versions["xent"].split()[1:])
        available = hello["tiers"].split(",")
        chosen = [case for case in cases.cases(available, arguments.quick)
                  if not arguments.only or re.search(arguments.only, case.section)]
        truth = Truth(arguments.data)
        measured = []
        for i, case in enumerate(chosen):
            result = run_case(case, workers, truth, arguments)
            measured.append(result)
            seconds = int(time.monotonic() - start)
            print(f"[{i + 1}/{len(chosen)} {seconds // 60}:{seconds % 60:02}] {report.progress(result)}",
                  file=sys.stderr, flush=True)
            for key, why in result["failed"].items():
                print(f"    {key}: {why}", file=sys.stderr)
        for worker in workers.values():
            worker.close()

    document = {
        "cpu": {"name": name, "family_model": numbers, "speed_of_light": hello["exp"]},
        "date": time.strftime("%Y-%m-%d"), "commit": commit(arguments.root), "quick": arguments.quick,
        "seconds": round(time.monotonic() - start),
        "versions": versions, "missing": missing, "tiers": available, "tier": cases.best_tier(available), "tolerance": TOLERANCE,
        "cases": measured,
    }
    document["targets"] = targets.judge(document)
    with open(output, "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report.show(document)
    print(text.getvalue(), end="")
    with open(os.path.splitext(output)[0] + ".txt", "w") as file:
        file.write(text.getvalue().lstrip("\n"))
    if whole:
        subprocess.run([sys.executable, os.path.join(arguments.root, "bench", "plots.py"), output,
                        os.path.join(arguments.root, "docs")], check=False)
    print(f"peers: {os.path.relpath(output, arguments.root)} written, {document['seconds']} s", file=sys.stderr)
    sys.exit(1 if any("wrong" in why for case in measured for why in case["failed"].values()) else 0)


if __name__ == "__main__":
    main()
