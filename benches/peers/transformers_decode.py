#!/usr/bin/env python3
"""Decode speed of transformers on a GPU, over the shapes of the kernels' catalogue: static cache, torch.compile.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/transformers_decode.py --dtype bf16 f16

What `transformers_text.py` measures, shape by shape as far as they fit the memory, with the bytes that a step has to read
divided by its time, and the rate of a copy on the same device, of which they are a share.
"""
import argparse
import sys

import torch

from report import add_workload, seconds, spread
from shapes import DECODERS
from torch_device import DEVICES, DTYPES, HOWS, synchronize, use
from transformers_text import measure

COPY_BYTES = 1 << 30


def parameters(sizes):
    """Weights that a step reads: all but the table, of which it reads a row, unless it is the head too."""
    attention = 2 * sizes.hidden * (sizes.heads + sizes.kv_heads) * sizes.head_dim
    layer = attention + 3 * sizes.hidden * sizes.intermediate + 2 * sizes.hidden
    return sizes.layers * layer + sizes.hidden + sizes.vocab * sizes.hidden


def step_bytes(sizes, element_bytes, arguments):
    """With the cache in the mean over the steps."""
    row = 2 * sizes.layers * sizes.kv_heads * sizes.head_dim
    return element_bytes * (parameters(sizes) + row * (2 * arguments.depth + arguments.new_tokens + 1) // 2)


def copy_gigabytes_per_second(device, repetitions=9):
    source = torch.ones(COPY_BYTES // 8 if device == "cpu" else COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    taken = seconds(lambda: target.copy_(source), repetitions, lambda: synchronize(device))
    return spread(2e-9 * source.numel() / one for one in taken)


def fits(sizes, dtype, device):
    if device == "cpu":
        return True
    # The table of the embeddings, and room for the cache and the compiler's buffers.
    weights = torch.finfo(DTYPES[dtype]).bits // 8 * (parameters(sizes) + sizes.vocab * sizes.hidden)
    return weights * 1.1 + 4e9 < torch.cuda.get_device_properties(0).total_memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=DECODERS, nargs="+", default=list(DECODERS))
    parser.add_argument("--device", choices=DEVICES, default="cuda")
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["bf16"])
    parser.add_argument("--how", choices=HOWS, nargs="+", default=["compiled"])
    add_workload(parser)
    arguments = parser.parse_args()
    if not use(arguments.device, arguments.threads):
        sys.exit(3)
    types = arguments.dtype
    for shape in arguments.shape:
        sizes = DECODERS[shape]
        arguments.dtype = [dtype for dtype in types if fits(sizes, dtype, arguments.device)]

        def gigabytes(model, decode):
            amount = step_bytes(sizes, model.lm_head.weight.element_size(), arguments)
            return spread(1e-9 * arguments.new_tokens * amount / one for one in decode)

        measure(shape, arguments, decode_gigabytes_per_second=gigabytes,
                copy_gigabytes_per_second=lambda model, decode: copy_gigabytes_per_second(arguments.device))


if __name__ == "__main__":
    main()
