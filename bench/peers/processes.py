"""The workers' processes, and talking to them (protocol.h)."""
import math
import os
import selectors
import subprocess
import sys

from cases import MODES

HERE = os.path.dirname(os.path.abspath(__file__))

# One thread each, whatever the framework calls it. Not all heed it: oneDNN's runtime and JAX took all CPUs that
# they saw (2.0 and 1.5 to 1.9 of two). So workers see one.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TBB_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}
# The C library keeps what was freed, and takes it again without a page fault.
RETAINED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000",
    "MALLOC_ARENA_MAX": "1",
}


class Failed(Exception):
    pass


def bind():
    """To one CPU, the same for all workers: they run in turns, and other load on it is everybody's."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Worker:
    """A process that answers a line with a line. Anything that goes wrong is Failed."""

    def __init__(self, command, environment, log):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                        env={**os.environ, **environment}, text=True, bufsize=1,
                                        preexec_fn=bind)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def send(self, verb, **words):
        try:
            self.process.stdin.write(" ".join([verb] + [f"{k}={v}" for k, v in words.items()]) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failed("the process has ended") from error

    def answer(self, limit=300):
        if not self.selector.select(limit):
            self.process.kill()
            raise Failed(f"no answer in {limit} s")
        kind, _, rest = self.process.stdout.readline().strip().partition(" ")
        if kind != "ok":
            raise Failed(rest if kind else f"the process ended with status {self.process.wait()}")
        return rest

    def ask(self, verb, **words):
        self.send(verb, **words)
        return self.answer()

    def close(self):
        try:
            self.send("quit")
            self.process.wait(10)
        except (Failed, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


def start(arguments, log):
    """Starts all workers, at once. Returns those that answer, by (name, mode), what each says it is,
    and why the others are missing."""
    folder, venv = arguments.data, sys.prefix
    commands = {name: [sys.executable, os.path.join(HERE, "worker.py"), name, folder]
                for name in ("torch", "jax", "tensorflow", "onnxruntime")}
    commands["onednn"] = [arguments.onednn, folder]
    more = {"onednn": {"LD_LIBRARY_PATH": os.path.join(venv, "lib"),
                       "OCL_ICD_FILENAMES": os.path.join(venv, "lib", "libintelocl.so")}}
    workers, versions, missing = {}, {}, {}
    for name, command in commands.items():
        if arguments.peers and name not in arguments.peers:
            missing[name] = "left out by --peers"
            continue
        if not os.path.exists(command[0]):
            missing[name] = "could not be built; is it installed?"
            continue
        for mode in MODES:
            memory = RETAINED if mode == "retained" else {}
            workers[name, mode] = Worker(command, {**ONE_THREAD, **memory, **more.get(name, {})}, log)
    workers["xent", ""] = Worker([arguments.xent, folder], {}, log)
    for worker in workers.values():
        try:
            worker.send("hello")
        except Failed:
            pass    # shows in the answer
    for key in list(workers):
        try:
            versions[key[0]] = workers[key].answer()
        except Failed as error:
            missing[key[0]] = str(error)
            workers.pop(key).close()
    for key in [key for key in workers if key[0] in missing]:
        workers.pop(key).close()
    return workers, versions, missing


class Participant:
    """A job of a case in the worker that has it."""

    def __init__(self, name, mode, worker, words):
        self.name, self.mode, self.worker, self.words = name, mode, worker, words
        self.id = words["id"]
        self.best = math.inf
        self.error = None    # the worst, against the truth
        self.failure = None  # why it is out

    def attempt(self, verb, **words):
        """The answer, or None once anything has failed."""
        if self.failure:
            return None
        try:
            return self.worker.ask(verb, id=self.id, **words)
        except Failed as failure:
            self.failure = str(failure)
            return None
