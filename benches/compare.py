#!/usr/bin/env python3
"""Measures this crate and llama.cpp in turns, on the same shape, and prints a table in Markdown.

    pip install xllamacpp gguf numpy
    cargo build --release --example bench
    python3 benches/compare.py --gguf SmolLM2-135M-Instruct.gguf --folder OUT

OUT gets the peer's files, requantised from the given one, and results.json. Each measurement is a process of its own, one
at a time; each round goes through all of them, every second one backwards, so that a machine that slows down for a while
slows down both sides. Shared cores do not slow both sides alike: threads that wait for each other at barriers, as the peer's
do, lose far more. So a measurement during which other processes took more than --noise of the cores is thrown away and
taken again. Linux only.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "peers"))
import gguf_files

PROMPT_TOKENS, NEW_TOKENS = 256, 128


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="SmolLM2-135M in any type")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for the peer's files and the results")
    parser.add_argument("--bench", default="target/release/examples/bench", help="this crate's program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 1024])
    parser.add_argument("--ours", nargs="*", default=["f32", "bf16", "f16"])
    parser.add_argument("--peers", nargs="*", default=["F32", "BF16", "F16", "Q8_0", "Q4_0"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--noise", type=float, default=0.05, help="most that others may take of the cores")
    parser.add_argument("--patience", type=float, default=3600, help="seconds to wait for quiet, all in all")
    parser.add_argument("--peer", nargs=2, metavar=("FILE", "DEPTH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(measure_peer(*arguments.peer, arguments.threads)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    commands = {}
    for depth in arguments.depths:
        for weights in arguments.ours:
            commands["burn-vlm", weights, depth] = [
                arguments.bench, "--device", "cpu", "--shape", "smollm-135m", "--weights", weights, "--depth", str(depth),
                "--prompt-tokens", str(PROMPT_TOKENS), "--new-tokens", str(NEW_TOKENS), "--repetitions", "1", "--json"]
        for weights in arguments.peers:
            file = gguf_files.file_of(arguments.gguf, weights, arguments.folder)
            commands["llama.cpp", weights, depth] = [
                sys.executable, __file__, "--gguf", "-", "--folder", "-", "--threads", str(arguments.threads),
                "--peer", str(file), str(depth)]
    taken = {key: [] for key in commands}
    quiet = Quiet(arguments.noise, time.monotonic() + arguments.patience)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    try:
        for number in range(arguments.rounds):
            for key in list(commands)[:: 1 if number % 2 == 0 else -1]:
                taken[key].append(figures(quiet.run(commands[key])))
                print(number, *key, taken[key][-1], file=sys.stderr, flush=True)
    finally:
        # What was measured before something went wrong is worth keeping.
        results = [{"who": who, "weights": weights, "depth": depth, "rounds": rounds}
                   for (who, weights, depth), rounds in taken.items() if rounds]
        (arguments.folder / "results.json").write_text(json.dumps(results, indent=1))
        print_table(results)
        print(f"\nthrown away for noise: {quiet.thrown_away}")


class Quiet:
    """Runs commands while nobody else uses the cores."""

    def __init__(self, noise, deadline):
        self.noise, self.deadline, self.thrown_away = noise, deadline, 0

    def run(self, command):
        while True:
            self.wait()
            started, others = time.monotonic(), others_seconds()
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode != 0:
                raise SystemExit(f"{command} failed:\n{ran.stderr[-2000:]}")
            others, elapsed = others_seconds() - others, time.monotonic() - started
            share = others / elapsed / os.cpu_count()
            if share <= self.noise:
                return json.loads(ran.stdout.splitlines()[-1]) | {"noise": round(share, 4)}
            self.thrown_away += 1

    def wait(self):
        while time.monotonic() < self.deadline:
            others = others_seconds()
            time.sleep(1)
            if (others_seconds() - others) / os.cpu_count() <= self.noise:
                return
            time.sleep(2)
        raise SystemExit("the machine did not become quiet in time")


def others_seconds():
    """What every process but this one and its children has used so far, and what the host took."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy - own.user - own.system - own.children_user - own.children_system


def figures(report):
    """The two speeds, out of either side's report."""
    if "prompt" in report:
        return report
    return {"noise": report["noise"], "prompt": report["prompt_tokens_per_second"]["median"], "decode": report["decode_tokens_per_second"]["median"],
            "gigabytes": report["decode_gigabytes_per_second"]["median"], "copy": report["copy_gigabytes_per_second"]["median"],
            "peak": report["peak_host_memory_bytes"], "kernels": report["kernels"]}


def measure_peer(file, depth, threads):
    """llama.cpp's own clock over a prompt and over single tokens, both behind `depth` cached tokens."""
    import xllamacpp
    depth = int(depth)
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 2048, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)

    def ask(ids, new_tokens):
        return server.handle_completions({
            "prompt": ids, "n_predict": new_tokens, "ignore_eos": True, "temperature": 0, "top_k": 1, "samplers": ["top_k"],
            "cache_prompt": True})["timings"]

    def sequence(length, start):
        return [(start + position) * 7919 % 40000 + 100 for position in range(length)]

    shared = sequence(depth, 1)
    for warm in (False, True):
        # Another beginning each time: only what is shared may come from the cache.
        ask(shared + sequence(1, 5000 + warm), 1)
        prompt = ask(shared + sequence(PROMPT_TOKENS, 7000 + 1000 * warm), 1)
        ask(shared + sequence(1, 5000 + warm), 1)
        decode = ask(shared + sequence(1, 9000 + warm), NEW_TOKENS + 1)
        assert prompt["prompt_n"] == PROMPT_TOKENS and decode["predicted_n"] == NEW_TOKENS + 1, (prompt, decode)
        # Its clock starts behind the first token.
        speeds = {"prompt": 1e3 * PROMPT_TOKENS / prompt["prompt_ms"], "decode": 1e3 * NEW_TOKENS / decode["predicted_ms"]}
    return speeds


def print_table(results):
    def cell(rounds, name):
        numbers = [one[name] for one in rounds]
        return f"{statistics.median(numbers):.0f} ({min(numbers):.0f}-{max(numbers):.0f})"
    print("| | weights | behind | prompt tokens/s | decode tokens/s |\n|---|---|---:|---:|---:|")
    for result in results:
        rounds = result["rounds"]
        print(f"| {result['who']} | {result['weights']} | {result['depth']} | {cell(rounds, 'prompt')} | {cell(rounds, 'decode')} |")


if __name__ == "__main__":
    main()
