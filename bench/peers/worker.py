"""The worker process of a peer in Python: protocol.h says what it reads and answers.

    python worker.py FRAMEWORK DATA
"""
import gc
import math
import os
import sys
import time

import frameworks

WANTED = 0.25e-3    # seconds of a batch of calls
SLOW = 0.03


class Timed:
    """The least time of one call over batches of calls, as protocol.h has it."""

    def __init__(self, call):
        self.call = call
        self.calls = 0

    def batch(self, calls):
        call = self.call
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    def calibrate(self):
        each = min(self.batch(1), self.batch(1))
        for _ in range(3):
            if each >= WANTED:
                break
            self.calls = int(WANTED / each) + 1
            each = min(each, self.batch(self.calls))
        self.calls = max(1, int(WANTED / each))

    def run(self, seconds):
        if not self.calls:
            self.calibrate()
        start = time.perf_counter()
        best = self.batch(self.calls)
        while time.perf_counter() - start < seconds:
            best = min(best, self.batch(self.calls))
        if best < SLOW:    # the first may have found cold caches
            best = min(best, self.batch(self.calls))
        return best


def serve(peer, answer):
    jobs = {}
    for line in sys.stdin:
        verb, *words = line.split()
        words = dict(word.split("=", 1) for word in words)
        try:
            if verb == "quit":
                break
            if verb == "hello":
                answer("ok " + peer.version)
            elif verb == "prepare":
                call = peer.prepare(words["op"], int(words["n"]), int(words["c"]), words.get("dtype", "f32"),
                                    words.get("layout", "rows"))
                for _ in range(3):    # compiles, and settles what it compiled
                    call()
                jobs[words["id"]] = Timed(call)
                answer("ok")
            elif verb == "run":
                answer(f"ok {jobs[words['id']].run(float(words['seconds']))!r}")
            elif verb == "check":
                mean, result = peer.numbers(jobs[words["id"]].call())
                result[:int(words["count"])].tofile(words["path"])
                answer(f"ok {mean!r}")
            elif verb == "drop":
                jobs.clear()
                peer.drop()
                gc.collect()
                answer("ok")
            else:
                answer(f"error unknown verb {verb}")
        except Exception as error:    # told, and the run goes on without this job
            answer("error " + " ".join(f"{type(error).__name__}: {error}".split())[:300])


def main():
    name, folder = sys.argv[1:]
    # What a framework prints must not come between the answers.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(text):
        out.write(text + "\n")

    try:
        peer = frameworks.FRAMEWORKS[name](folder)
    except Exception as error:
        sys.stdin.readline()
        answer(f"missing {type(error).__name__}: {error}".split("\n")[0])
        return
    gc.disable()
    serve(peer, answer)


if __name__ == "__main__":
    main()
