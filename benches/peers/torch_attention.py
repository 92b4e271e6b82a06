#!/usr/bin/env python3
"""Attention of PyTorch on the problems of `cargo bench --bench kernels`, under their names.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/torch_attention.py --device cuda --dtype f16 bf16
    python3 benches/peers/torch_attention.py --device cpu --filter clip-l

`scaled_dot_product_attention` with each backend pinned, and FlexAttention, compiled. One JSON object a line, with the keys of
`kernels --json` and the settings. As there, calls are queued and timed together until they take 20 ms, the median of seven
such samples is reported, and each answer is checked first, against the plain formula in f64. On a GPU each is measured as
called, which is how the kernels of this crate are, and once more replayed from a CUDA graph, which leaves the host out.
"""
import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from report import write
from torch_device import DEVICES, DTYPES, device_name, synchronize, use

SAMPLE_SECONDS, NUM_SAMPLES = 0.02, 7
# What rounding explains, of answers that lie around one.
TOLERANCES = {"f32": 1e-4, "f16": 5e-3, "bf16": 4e-2}
BACKENDS = {
    "SDPA flash": SDPBackend.FLASH_ATTENTION,
    "SDPA math": SDPBackend.MATH,
    "SDPA cuDNN": SDPBackend.CUDNN_ATTENTION,
    "SDPA efficient": SDPBackend.EFFICIENT_ATTENTION,
}
ON_THE_CPU = ("SDPA flash", "SDPA math")
DECODE, PREFILL = "attention_decode", "attention_prefill"


@dataclass(frozen=True)
class Problem:
    """Queries at the end of `keys` positions, or beside them."""
    kernel: str
    case: str
    heads: int
    kv_heads: int
    head_dim: int
    queries: int
    keys: int
    batch: int = 1
    causal: bool = False
    # Kept in f16 whatever is computed in: the same problem as without it where that is f16 too.
    f16_cache: bool = False

    def visible(self):
        """Pairs of a query and a key it sees, of one head."""
        hidden = self.queries * (self.queries - 1) // 2 if self.causal else 0
        return self.batch * (self.queries * self.keys - hidden)

    def work(self, element_bytes):
        """Bytes that must move and operations, as the catalogue counts them."""
        rows = 2 * self.heads * self.queries + 2 * self.kv_heads * self.keys
        return element_bytes * self.batch * rows * self.head_dim, 4 * self.head_dim * self.heads * self.visible()

    def tensors(self, dtype, device):
        def normal(heads, rows):
            return torch.randn(self.batch, heads, rows, self.head_dim, device=device).to(dtype)
        return normal(self.heads, self.queries), normal(self.kv_heads, self.keys), normal(self.kv_heads, self.keys)


def decode(case, heads, kv_heads, head_dim, keys, **more):
    return Problem(DECODE, case, heads, kv_heads, head_dim, 1, keys, **more)


def causal(case, heads, kv_heads, head_dim, new, keys):
    return Problem(PREFILL, case, heads, kv_heads, head_dim, new, keys, causal=True)


def bidirectional(case, heads, head_dim, queries, keys):
    return Problem(PREFILL, case, heads, heads, head_dim, queries, keys)


PROBLEMS = [
    decode("smollm-135m, 256 positions", 9, 3, 64, 256),
    decode("smollm-135m, 2048 positions", 9, 3, 64, 2048),
    decode("smollm-135m, 2048 positions, F16 cache", 9, 3, 64, 2048, f16_cache=True),
    decode("vicuna-7b, 1024 positions", 32, 32, 128, 1024),
    decode("vicuna-7b, 1024 positions, F16 cache", 32, 32, 128, 1024, f16_cache=True),
    decode("vicuna-13b, 1024 positions, F16 cache", 40, 40, 128, 1024, f16_cache=True),
    decode("llama-3-8b, 8192 positions, F16 cache", 32, 8, 128, 8192, f16_cache=True),
    decode("smollm-135m, 8 rows of 512 positions", 9, 3, 64, 512, batch=8),
    causal("smollm-135m, 256 new", 9, 3, 64, 256, 256),
    causal("smollm-135m, 64 new after 960", 9, 3, 64, 64, 1024),
    causal("vicuna-7b, 640 new", 32, 32, 128, 640, 640),
    causal("vicuna-13b, 640 new", 40, 40, 128, 640, 640),
    causal("llama-3-8b, 1024 new", 32, 8, 128, 1024, 1024),
    # The window is as long as the ring, so it hides nothing.
    causal("mistral-7b, 512 new in a ring of 4096", 32, 8, 128, 512, 4096),
    bidirectional("clip-l at 336 pixels", 16, 64, 577, 577),
    bidirectional("siglip base at 512 pixels", 12, 64, 1024, 1024),
    bidirectional("siglip-so400m at 384 pixels", 16, 72, 729, 729),
    bidirectional("eva-g at 224 pixels", 16, 88, 257, 257),
    bidirectional("q-former, 32 queries", 12, 64, 32, 257),
]


class Peers:
    """Ways to compute a problem, each a function without arguments."""

    def __init__(self, problem, dtype, device):
        self.problem, self.device = problem, device
        self.query, self.key, self.value = problem.tensors(dtype, device)

    def exact(self):
        """The plain formula in f64."""
        query, key, value = (tensor.double() for tensor in (self.query, self.key, self.value))
        key, value = self.repeated(key), self.repeated(value)
        scores = query @ key.transpose(-1, -2) * self.problem.head_dim ** -0.5
        if self.problem.causal:
            scores = scores.masked_fill(~self.seen(), -torch.inf)
        return scores.softmax(-1) @ value

    def seen(self):
        """Which keys a query sees: the last one sees all."""
        queries, keys = self.problem.queries, self.problem.keys
        return torch.ones(queries, keys, dtype=torch.bool, device=self.device).tril(keys - queries)

    def repeated(self, tensor):
        return tensor.repeat_interleave(self.problem.heads // self.problem.kv_heads, dim=1)

    def ways(self):
        """Names and functions; what a backend refuses it says when it is called."""
        grouped = self.problem.heads != self.problem.kv_heads
        for name in BACKENDS if self.device == "cuda" else ON_THE_CPU:
            backend = BACKENDS[name]
            yield name, self.pinned(backend, self.key, self.value, grouped)
            if grouped:
                # Not every backend knows that heads share keys; repeating them is not timed.
                repeated = self.repeated(self.key).contiguous(), self.repeated(self.value).contiguous()
                yield f"{name}, keys repeated before", self.pinned(backend, *repeated, False)
        yield "FlexAttention", self.flex(grouped)

    def pinned(self, backend, key, value, grouped):
        problem, mask = self.problem, None
        square = problem.queries == problem.keys
        if problem.causal and not square:
            known = backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION) and self.device == "cuda"
            mask = causal_lower_right(problem.queries, problem.keys) if known else self.seen()

        def run():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(
                    self.query, key, value, attn_mask=mask, is_causal=problem.causal and square, enable_gqa=grouped)
        return run

    def flex(self, grouped):
        problem, mask = self.problem, None
        if problem.causal:
            offset = problem.keys - problem.queries
            mask = create_block_mask(lambda b, h, q, k: q + offset >= k, None, None, problem.queries, problem.keys,
                                     device=self.device)
        run = torch.compile(flex_attention, dynamic=False)
        return lambda: run(self.query, self.key, self.value, block_mask=mask, enable_gqa=grouped)


def replayed(run):
    """A CUDA graph of the call."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def seconds_a_call(run, device):
    """As the kernels' bench: calls together until they take long enough for the clock."""
    def sample(count):
        started = time.perf_counter()
        for _ in range(count):
            run()
        synchronize(device)
        return time.perf_counter() - started

    count = 1
    while (first := sample(count)) < SAMPLE_SECONDS:
        count *= 2
    return statistics.median([first] + [sample(count) for _ in range(NUM_SAMPLES - 1)]) / count


def measure(problem, dtype, device):
    """Lines of one problem: a backend that refuses it, or whose answer is wrong, says so and the others go on."""
    peers = Peers(problem, DTYPES[dtype], device)
    exact = peers.exact()
    for name, run in peers.ways():
        what = dict(kernel=problem.kernel, case=problem.case, dtype=dtype.upper(), device=device_name(device),
                    by=f"PyTorch {torch.__version__}")
        try:
            difference = (run().double() - exact).abs().max().item()
            if not difference <= TOLERANCES[dtype]:
                raise RuntimeError(f"wrong by {difference:.1e}")
            write(**what, settings=name, **rates(problem, DTYPES[dtype].itemsize, seconds_a_call(run, device)))
            if device == "cuda":
                seconds = seconds_a_call(replayed(run), device)
                write(**what, settings=f"{name}, CUDA graph", **rates(problem, DTYPES[dtype].itemsize, seconds))
        except Exception as error:  # Backends refuse in many ways.
            write(**what, settings=name, error=str(error).splitlines()[0] if str(error) else type(error).__name__)


def rates(problem, element_bytes, seconds):
    moved, operations = problem.work(element_bytes)
    return {"microseconds": round(1e6 * seconds, 3), "gigabytes_per_second": round(1e-9 * moved / seconds, 3),
            "gigaflops_per_second": round(1e-9 * operations / seconds, 3)}


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="cuda")
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["f16"])
    parser.add_argument("--filter", nargs="*", default=[], help="keeps the problems whose names hold every word")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if not use(arguments.device, arguments.threads):
        sys.exit(3)
    for problem in PROBLEMS:
        text = f"{problem.kernel} {problem.case}"
        for dtype in arguments.dtype:
            if all(word in text for word in arguments.filter) and (dtype == "f16" or not problem.f16_cache):
                torch.compiler.reset()
                measure(problem, dtype, arguments.device)


if __name__ == "__main__":
    main()
