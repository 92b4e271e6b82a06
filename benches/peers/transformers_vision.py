#!/usr/bin/env python3
"""Time of one picture through the encoders of transformers, with random weights.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/transformers_vision.py clip-l-336 --dtype f32 bf16

The pixels are ready, and nothing comes behind the encoder. One JSON object for each type and each way, eager and compiled.
"""
import argparse
import sys

import torch
import transformers

from report import add_repetitions, seconds, spread, write
from torch_device import DTYPES, add_device, compiled, device_name, synchronize, use
from torch_models import random_model, versions


def clip_l_336():
    return transformers.CLIPVisionModel, transformers.CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14, hidden_act="quick_gelu")


def siglip(side, patch, hidden, intermediate, layers, heads):
    return transformers.SiglipVisionModel, transformers.SiglipVisionConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        image_size=side, patch_size=patch, hidden_act="gelu_pytorch_tanh", vision_use_head=False)


def eva_g_224():
    return transformers.Blip2VisionModel, transformers.Blip2VisionConfig()


ENCODERS = {
    "clip-l-336": clip_l_336,
    "siglip-b-512": lambda: siglip(512, 16, 768, 3072, 12, 12),
    "siglip-so400m-384": lambda: siglip(384, 14, 1152, 4304, 27, 16),
    "eva-g-224": eva_g_224,
}


@torch.inference_mode()
def measure(encoder, arguments):
    kind, config = ENCODERS[encoder]()
    for dtype in arguments.dtype:
        model = random_model(kind, config, dtype, arguments.device)
        pixels = torch.rand(1, 3, config.image_size, config.image_size, device=arguments.device).to(DTYPES[dtype])
        for how in arguments.how:
            torch.compiler.reset()
            encode = compiled(lambda pixels: model(pixel_values=pixels).last_hidden_state, arguments.device, how)
            taken = seconds(lambda: encode(pixels), arguments.repetitions, lambda: synchronize(arguments.device))
            write(model=f"{encoder} with random weights", by=versions(), settings=how, weights=dtype, compute=dtype,
                  device=device_name(arguments.device), threads=arguments.threads, repetitions=arguments.repetitions,
                  image_encode_ms=spread(1e3 * one for one in taken))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", choices=ENCODERS)
    add_device(parser)
    add_repetitions(parser)
    arguments = parser.parse_args()
    if not use(arguments.device, arguments.threads):
        sys.exit(3)
    measure(arguments.encoder, arguments)


if __name__ == "__main__":
    main()
