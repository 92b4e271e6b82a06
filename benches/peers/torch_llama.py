#!/usr/bin/env python3
"""Prompt and decode speed of a plain Llama in PyTorch on the shapes of `bench --shape`: no library in between.

    python3 benches/peers/torch_llama.py --shape tinyllama-1.1b --matmul

A plain Llama with random f16 weights: fused projections, SDPA, a static cache, and decoding both as written and replayed
from a CUDA graph, which leaves the host out. Like `bench`, every repetition reads the prompt at once, then generates in its
place, brings each token to the host, and one repetition goes before that and is not counted. One JSON object a line. Ends
with 3 where there is no GPU.
"""
import argparse
import statistics
import sys

import torch
import torch.nn.functional as F

from report import add_workload, seconds, spread, token_ids, write, write_speeds
from shapes import DECODERS, EPSILON
from torch_device import DEVICES, DTYPES, device_name, synchronize, use


class Llama:
    def __init__(self, shape, capacity, device, dtype):
        sizes = DECODERS[shape]
        hidden, intermediate, self.vocab = sizes.hidden, sizes.intermediate, sizes.vocab
        self.heads, self.kv_heads, self.head_dim = sizes.heads, sizes.kv_heads, sizes.head_dim
        self.capacity = capacity

        def matrix(rows, columns):
            return torch.empty(rows, columns, device=device, dtype=dtype).uniform_(-columns**-0.5, columns**-0.5)

        def cache():
            return torch.zeros(1, self.kv_heads, capacity, self.head_dim, device=device, dtype=dtype)

        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.layers = [{
            "qkv": matrix(rows, hidden), "o": matrix(hidden, hidden), "gate_up": matrix(2 * intermediate, hidden),
            "down": matrix(hidden, intermediate), "k": cache(), "v": cache(),
        } for _ in range(sizes.layers)]
        self.table, self.head = matrix(self.vocab, hidden), matrix(self.vocab, hidden)
        self.norm = torch.ones(hidden, device=device, dtype=dtype)
        frequencies = sizes.rope_theta ** (-torch.arange(0, self.head_dim, 2, device=device).float() / self.head_dim)
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
        return F.rms_norm(x, self.norm.shape, self.norm, EPSILON)


class Speeds:
    """Times one model; the host sees each token, as it does when text is streamed."""

    def __init__(self, model, device, arguments):
        self.model, self.device, self.arguments = model, device, arguments

    def prompt(self):
        count = self.arguments.prompt_tokens
        positions = torch.arange(count, device=self.device)
        ids = torch.tensor([token_ids(count, self.model.vocab)], device=self.device)
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

    def report(self, how, decode):
        arguments = self.arguments
        prompt, decode = (seconds(run, arguments.repetitions) for run in (self.prompt, decode))
        gigabytes = arguments.new_tokens * self.model.step_bytes(arguments.new_tokens) * 1e-9
        write_speeds(arguments, prompt, decode, model=f"{arguments.shape} with random weights",
                     by=f"PyTorch {torch.__version__}, {how}", device=device_name(self.device),
                     weights=arguments.dtype, compute=arguments.dtype,
                     decode_gigabytes_per_second=spread(gigabytes / one for one in decode))


def matmul_and_copy(device, size):
    """The roof: what PyTorch reaches with one product and one copy."""
    def timed(run):
        return statistics.median(seconds(run, 7, lambda: synchronize(device)))

    for name, dtype in DTYPES.items():
        a = torch.rand(size, size, device=device).to(dtype)
        taken = timed(lambda: a @ a)
        write(by="PyTorch", kernel="roofline matmul", case=f"{size}x{size}x{size}", dtype=name,
              microseconds=round(taken * 1e6, 3), gigaflops_per_second=round(2e-9 * size**3 / taken, 3))
    source = torch.rand(32 << 20, device=device)
    target = torch.empty_like(source)
    taken = timed(lambda: target.copy_(source))
    write(by="PyTorch", kernel="roofline copy", case="128 MiB", dtype="f32", microseconds=round(taken * 1e6, 3),
          gigabytes_per_second=round(2e-9 * 4 * source.numel() / taken, 3))


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=DECODERS, required=True)
    parser.add_argument("--device", choices=DEVICES, default="cuda")
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--matmul", action="store_true", help="one product and one copy first")
    parser.add_argument("--matmul-size", type=int, default=4096)
    add_workload(parser, has_depth=False)
    arguments = parser.parse_args()
    if not use(arguments.device, arguments.threads):
        sys.exit(3)
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
