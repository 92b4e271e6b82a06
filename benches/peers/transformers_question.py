#!/usr/bin/env python3
"""Time from a picture and a question to the first token and to the last, in transformers on the CPU.

    pip install -r benches/peers/requirements.txt
    python3 benches/real_size.py smolvlm-256m FOLDER
    python3 benches/peers/transformers_question.py FOLDER FOLDER/picture.png "What is this?" --dtype f32 bf16

The model is loaded before the clock starts; the picture is opened, prepared and encoded within it. Two JSON objects for each
type: the first question of a process, which is what `ask` measures, and the same asked again, which finds everything warm.
"""
import argparse
import os
import pathlib
import sys
import time

import torch
import transformers
from PIL import Image

from report import write
from torch_device import DTYPES, use
from torch_models import versions


class Answer:
    """The times of one greedy answer, in milliseconds."""

    def __init__(self, model, processor, arguments):
        started = time.perf_counter()
        content = [{"type": "image"}, {"type": "text", "text": arguments.question}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        with Image.open(arguments.picture) as picture:
            inputs = processor(images=picture.convert("RGB"), text=prompt, return_tensors="pt").to(model.dtype)
        self.prompt_tokens = inputs["input_ids"].shape[1]
        said = model(**inputs, use_cache=True, logits_to_keep=1)
        ids = said.logits.argmax(-1)
        ids.item()
        self.first_token_ms = 1e3 * (time.perf_counter() - started)
        for _ in range(arguments.new_tokens - 1):
            said = model(input_ids=ids, cache=said.cache, use_cache=True, logits_to_keep=1)
            ids = said.logits.argmax(-1)
            ids.item()
        self.total_ms = 1e3 * (time.perf_counter() - started)


@torch.inference_mode()
def measure(dtype, arguments):
    processor = transformers.AutoProcessor.from_pretrained(arguments.model)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        arguments.model, dtype=DTYPES[dtype], attn_implementation="sdpa").eval()
    first = f"{pathlib.Path(arguments.model).name}, {arguments.new_tokens} new tokens"
    for case in (first, f"{first}, asked again"):
        answer = Answer(model, processor, arguments)
        write(model=arguments.model, by=versions(), case=case, device="cpu", threads=arguments.threads,
              weights=dtype, compute=dtype, new_tokens=arguments.new_tokens, **vars(answer))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder in the layout of transformers")
    parser.add_argument("picture")
    parser.add_argument("question")
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["f32", "bf16"])
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if not use("cpu", arguments.threads):
        sys.exit(3)
    for dtype in arguments.dtype:
        measure(dtype, arguments)


if __name__ == "__main__":
    main()
