#!/usr/bin/env python3
"""Prompt and decode speed of llama.cpp on the CPU, by its own clock.

    pip install -r benches/peers/requirements.txt       # the wheel `xllamacpp`: llama.cpp built for AVX2
    python3 benches/peers/llama_cpp.py smollm-135m --weights Q8_0 --folder OUT --depth 2048
    python3 benches/peers/llama_cpp.py FILE.gguf

OUT gets a file of random weights of the named shape, in the type. One JSON object for each setting: flash attention on and
off, a batch for the whole prompt or a smaller one; the better of them is what the peer can do. A setting of one's own is
named by --flash-attention and --batch. Cache in f16, which is its default.
"""
import argparse
import itertools
import pathlib

import xllamacpp

from gguf_files import TYPES, file_of
from report import add_workload, token_ids, write_speeds
from shapes import DECODERS

BATCHES = (512, 128)


class Server:
    """One model in memory, asked for ids without sampling."""

    def __init__(self, file, context, threads, flash_attention="auto", batch=512):
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx, params.n_parallel, params.n_gpu_layers, params.n_ubatch = context, 1, 0, batch
        kinds = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = {
            "auto": kinds.LLAMA_FLASH_ATTN_TYPE_AUTO, "on": kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "off": kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED}[flash_attention]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self.server = xllamacpp.Server(params)

    def ask(self, ids, new_tokens, **fields):
        """The answer of the server, of exactly `new_tokens` unless `fields` say otherwise."""
        return self.server.handle_completions({
            "prompt": ids, "n_predict": new_tokens, "ignore_eos": True, "temperature": 0, "top_k": 1,
            "samplers": ["top_k"], "cache_prompt": True, **fields})


def measure(server, vocab, arguments):
    """Seconds of every prompt and of all new tokens, each behind the same cached tokens."""
    shared = token_ids(arguments.depth, vocab)
    prompts, decodes = [], []
    for repetition in range(arguments.repetitions + 1):
        # Another beginning each time: only what is shared may come from the cache.
        def ask(number, count, new_tokens):
            start = 100_000 + 10_000 * (4 * repetition + number)
            return server.ask(shared + token_ids(count, vocab, start), new_tokens)["timings"]

        ask(0, 1, 1)
        prompt = ask(1, arguments.prompt_tokens, 1)
        ask(2, 1, 1)
        decode = ask(3, 1, arguments.new_tokens + 1)
        assert prompt["prompt_n"] == arguments.prompt_tokens, prompt
        assert decode["predicted_n"] == arguments.new_tokens + 1, decode
        prompts.append(1e-3 * prompt["prompt_ms"])
        # Its clock starts behind the first token.
        decodes.append(1e-3 * decode["predicted_ms"])
    return prompts[1:], decodes[1:]


def vocabulary_size(source):
    if source in DECODERS:
        return DECODERS[source].vocab
    import gguf
    return len(gguf.GGUFReader(source).fields["tokenizer.ggml.tokens"].data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help=f"a file, or one of {', '.join(DECODERS)}")
    parser.add_argument("--weights", choices=TYPES, help="required for a shape; requantises a file")
    parser.add_argument("--folder", type=pathlib.Path, help="for the files that are made")
    parser.add_argument("--flash-attention", nargs="+", choices=("on", "off"), default=("on", "off"))
    parser.add_argument("--batch", nargs="+", type=int, default=BATCHES)
    add_workload(parser)
    arguments = parser.parse_args()
    file, what = arguments.source, pathlib.Path(arguments.source).name
    if arguments.weights:
        file = file_of(arguments.source, arguments.weights, arguments.folder)
        what = f"{arguments.source} with random weights" if arguments.source in DECODERS else what
    vocab = vocabulary_size(arguments.source)
    context = arguments.depth + max(arguments.prompt_tokens, arguments.new_tokens) + 64
    for flash, batch in itertools.product(arguments.flash_attention, arguments.batch):
        server = Server(file, context, arguments.threads, flash, batch)
        prompt, decode = measure(server, vocab, arguments)
        del server
        write_speeds(arguments, prompt, decode, model=what, device="cpu", weights=arguments.weights or "as stored",
                     by=f"llama.cpp, xllamacpp {xllamacpp.__version__}", build=xllamacpp.get_system_info(),
                     settings=f"flash attention {flash}, batch {batch}")


if __name__ == "__main__":
    main()
