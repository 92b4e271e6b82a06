#!/usr/bin/env python3
"""Prompt and decode speed of transformers on the shapes of `bench --shape`, with random weights.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/transformers_text.py smollm-135m --dtype bf16 --depth 2048

As `bench` does it: every repetition reads the prompt at once, then generates in its place, both behind the same cached
tokens, and brings each token to the host. One JSON object for each type and each way: "eager" with a cache that grows,
"compiled" with a static one, whose prompt is not compiled, as `generate` has it. The better of them is what the peer can do.
"""
import argparse
import sys

import torch
from transformers import DynamicCache, StaticCache

from report import add_workload, seconds, token_ids, write_speeds
from shapes import DECODERS
from torch_device import add_device, compiled, device_name, synchronize, use
from torch_models import decoder, versions


class Speeds:
    """A model and its cache, which holds `depth` tokens between any two measurements."""

    def __init__(self, model, how, arguments):
        self.model, self.arguments = model, arguments
        capacity = arguments.depth + max(arguments.prompt_tokens, arguments.new_tokens) + 1
        self.cache = (DynamicCache(config=model.config) if how == "eager"
                      else StaticCache(config=model.config, max_cache_len=capacity))
        self.step = compiled(self.next_id, arguments.device, how)
        if arguments.depth:
            self.next_id(self.ids(arguments.depth))

    def ids(self, count):
        ids = token_ids(count, self.model.config.vocab_size)
        return torch.tensor([ids], device=self.model.device)

    def next_id(self, ids):
        return self.model(input_ids=ids, cache=self.cache, use_cache=True, logits_to_keep=1).logits.argmax(-1)

    def prompt(self):
        count = self.arguments.prompt_tokens
        self.next_id(self.ids(count)).item()
        self.cache.crop(-count)

    def decode(self):
        ids = self.ids(1)
        for _ in range(self.arguments.new_tokens):
            # What a CUDA graph returns, its next replay overwrites.
            ids = self.step(ids).clone()
            ids.item()
        self.cache.crop(-self.arguments.new_tokens)

    def seconds(self):
        """Of every prompt, and of all new tokens."""
        def settle():
            synchronize(self.arguments.device)
        return [seconds(run, self.arguments.repetitions, settle) for run in (self.prompt, self.decode)]


@torch.inference_mode()
def measure(shape, arguments, **more):
    """A line for each type and each way; `more` maps names to functions of the model and the seconds of decoding."""
    for dtype in arguments.dtype:
        model = decoder(shape, dtype, arguments.device)
        for how in arguments.how:
            torch.compiler.reset()
            prompt, decode = Speeds(model, how, arguments).seconds()
            write_speeds(arguments, prompt, decode, model=f"{shape} with random weights", by=versions(), settings=how,
                         device=device_name(arguments.device), weights=dtype, compute=dtype,
                         **{name: figure(model, decode) for name, figure in more.items()})
        del model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=DECODERS)
    add_device(parser)
    add_workload(parser)
    arguments = parser.parse_args()
    if not use(arguments.device, arguments.threads):
        sys.exit(3)
    measure(arguments.shape, arguments)


if __name__ == "__main__":
    main()
