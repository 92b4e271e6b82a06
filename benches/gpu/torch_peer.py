#!/usr/bin/env python3
"""Prompt and decode speed of PyTorch on the shapes of `bench --shape`: the peer on the same machine.

    python3 benches/gpu/torch_peer.py --shape tinyllama-1.1b --matmul

A plain Llama with random f16 weights: fused projections, SDPA, a static cache, and decoding both as written and replayed
from a CUDA graph, which leaves the host out. Like `bench`, every repetition reads the prompt at once, then generates in its
place, brings each token to the host, and one repetition goes before that and is not counted. One JSON object a line. Ends
with 3 where PyTorch or its GPU is missing.
"""
import argparse
import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("PyTorch is not installed")
    sys.exit(3)

#         vocab, hidden, layers, heads, kv heads, intermediate
SHAPES = {
    "smollm-135m": (49152, 576, 30, 9, 3, 1536),
    "tinyllama-1.1b": (32000, 2048, 22, 32, 4, 5632),
    "llama-7b": (32000, 4096, 32, 32, 32, 11008),
}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Llama:
    def __init__(self, shape, capacity, device, dtype):
        vocab, hidden, layers, self.heads, self.kv_heads, intermediate = SHAPES[shape]
        self.head_dim, self.vocab, self.capacity, self.dtype = hidden // self.heads, vocab, capacity, dtype

        def matrix(rows, columns):
            return torch.empty(rows, columns, device=device, dtype=dtype).uniform_(-columns**-0.5, columns**-0.5)

        def cache():
            return torch.zeros(1, self.kv_heads, capacity, self.head_dim, device=device, dtype=dtype)

        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.layers = [{
            "qkv": matrix(rows, hidden), "o": matrix(hidden, hidden), "gate_up": matrix(2 * intermediate, hidden),
            "down": matrix(hidden, intermediate), "k": cache(), "v": cache(),
        } for _ in range(layers)]
        self.table, self.head = matrix(vocab, hidden), matrix(vocab, hidden)
        self.norm = torch.ones(hidden, device=device, dtype=dtype)
        frequencies = 1e4 ** (-torch.arange(0, self.head_dim, 2, device=device).float() / self.head_dim)
        angles = torch.outer(torch.arange(capacity, device=device).float(), frequencies).repeat(1, 2)
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)
        self.places = torch.arange(capacity, device=device)

    def step_bytes(self, new_tokens):
        """What a decode step has to read: every weight but the table, and the cache in the mean."""
        weights = [layer[name] for layer in self.layers for name in ("qkv", "o", "gate_up", "down")] + [self.head]
        row = 2 * len(self.layers) * self.kv_heads * self.head_dim
        return self.table.element_size() * (sum(weight.numel() for weight in weights) + row * (new_tokens + 1) // 2)

    def rotate(self, x, cos, sin):
        left, right = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-right, left), dim=-1) * sin

    def forward(self, ids, positions, end):
        """The next token, [1, 1], after `ids` at `positions`. Reads the cache up to `end`, or all of it behind a mask."""
        seq_len = ids.shape[1]
        x = F.embedding(ids, self.table)
        cos, sin = self.cos[positions], self.sin[positions]
        mask = None if end else (self.places <= positions).view(1, 1, 1, -1)
        for layer in self.layers:
            qkv = F.linear(self.normed(x), layer["qkv"]).view(1, seq_len, -1, self.head_dim).transpose(1, 2)
            q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            layer["k"].index_copy_(2, positions, k)
            layer["v"].index_copy_(2, positions, v)
            k, v = layer["k"][:, :, : end or self.capacity], layer["v"][:, :, : end or self.capacity]
            attended = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=seq_len > 1, enable_gqa=self.heads != self.kv_heads)
            x = x + F.linear(attended.transpose(1, 2).reshape(1, seq_len, -1), layer["o"])
            gate, up = F.linear(self.normed(x), layer["gate_up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer["down"])
        return F.linear(self.normed(x[:, -1:]), self.head).float().argmax(-1)

    def normed(self, x):
        return F.rms_norm(x, self.norm.shape, self.norm, 1e-5)


class Speeds:
    """Times one model; the host sees each token, as it does when text is streamed."""

    def __init__(self, model, device, arguments):
        self.model, self.device, self.arguments = model, device, arguments

    def prompt(self):
        count = self.arguments.prompt_tokens
        positions = torch.arange(count, device=self.device)
        ids = ((positions + 1) * 7919 % self.model.vocab).view(1, -1)
        self.model.forward(ids, positions, count).item()

    def decode(self):
        ids = torch.ones(1, 1, device=self.device, dtype=torch.long)
        for position in range(self.arguments.new_tokens):
            positions = torch.full((1,), position, device=self.device)
            ids = self.model.forward(ids, positions, position + 1)
            ids.item()

    def graph(self):
        """Captures a step and returns what replays it for all new tokens."""
        ids = torch.ones(1, 1, device=self.device, dtype=torch.long)
        positions = torch.zeros(1, device=self.device, dtype=torch.long)

        def step():
            ids.copy_(self.model.forward(ids, positions, None))
            positions.add_(1)

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()

        def decode():
            positions.zero_()
            for _ in range(self.arguments.new_tokens):
                graph.replay()
                ids.item()
        return decode

    def seconds(self, run):
        run()
        taken = []
        for _ in range(self.arguments.repetitions):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
        return taken

    def report(self, how, decode):
        arguments = self.arguments
        prompt, decode = self.seconds(self.prompt), self.seconds(decode)
        gigabytes = arguments.new_tokens * self.model.step_bytes(arguments.new_tokens) * 1e-9
        write(model=f"{arguments.shape} with random weights", by=f"PyTorch {torch.__version__}, {how}",
              device=device_name(self.device), weights=arguments.dtype, compute=arguments.dtype,
              prompt_tokens=arguments.prompt_tokens, new_tokens=arguments.new_tokens, depth=0, batch=1,
              repetitions=arguments.repetitions,
              prompt_tokens_per_second=spread(arguments.prompt_tokens / seconds for seconds in prompt),
              decode_tokens_per_second=spread(arguments.new_tokens / seconds for seconds in decode),
              decode_gigabytes_per_second=spread(gigabytes / seconds for seconds in decode))


def matmul_and_copy(device, size):
    """The roof: what PyTorch reaches with one product and one copy."""
    def timed(run):
        def once():
            started = time.perf_counter()
            run()
            synchronize(device)
            return time.perf_counter() - started
        once()
        return statistics.median(once() for _ in range(7))

    for name, dtype in DTYPES.items():
        a = torch.rand(size, size, device=device).to(dtype)
        seconds = timed(lambda: a @ a)
        write(by="PyTorch", kernel="roofline matmul", case=f"{size}x{size}x{size}", dtype=name,
              microseconds=round(seconds * 1e6, 3), gigaflops_per_second=round(2e-9 * size**3 / seconds, 3))
    source = torch.rand(32 << 20, device=device)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source))
    write(by="PyTorch", kernel="roofline copy", case="128 MiB", dtype="f32", microseconds=round(seconds * 1e6, 3),
          gigabytes_per_second=round(2e-9 * 4 * source.numel() / seconds, 3))


def spread(numbers):
    numbers = [round(number, 3) for number in numbers]
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(device):
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def write(**values):
    print(json.dumps(values), flush=True)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--matmul", action="store_true", help="one product and one copy first")
    parser.add_argument("--matmul-size", type=int, default=4096)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} sees no GPU")
        sys.exit(3)
    torch.manual_seed(0)
    if arguments.matmul:
        matmul_and_copy(arguments.device, arguments.matmul_size)
    capacity = max(arguments.prompt_tokens, arguments.new_tokens)
    model = Llama(arguments.shape, capacity, arguments.device, DTYPES[arguments.dtype])
    speeds = Speeds(model, arguments.device, arguments)
    speeds.report("as written", speeds.decode)
    if arguments.device == "cuda":
        speeds.report("CUDA graph", speeds.graph())


if __name__ == "__main__":
    main()
