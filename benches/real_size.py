#!/usr/bin/env python3
"""Write a model folder of the size that people have, in the layout they have, of random f16 weights.

    pip install numpy torch safetensors pillow
    python3 benches/real_size.py llava-7b FOLDER        # LLaVA-1.5 7B: three shards of safetensors, 14.1 GB
    python3 benches/real_size.py minigpt4-7b FOLDER     # MiniGPT-4 over Vicuna v0 7B: five files of PyTorch's, 16 GB
    python3 benches/real_size.py llama-2gb FOLDER       # a text model of 2 GB, for what loading takes
    python3 benches/real_size.py smolvlm-256m FOLDER    # SmolVLM-256M with pictures of one tile, 0.5 GB
    python3 benches/real_size.py clip-l-336 FOLDER      # CLIP-L/14 at 336 pixels before a tiny decoder, 0.6 GB

and FOLDER/picture.png beside them. The answers mean nothing; sizes, times and memory do:

    cargo build --release --example ask
    /usr/bin/time -v target/release/examples/ask --model FOLDER FOLDER/picture.png "What is this?" \\
        --max-new-tokens 3 --json

(MiniGPT-4's model is FOLDER/eval.yaml.) The vocabulary holds every byte and a filler for every other id: tokens
are letters here, so a question has more of them than a real one.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from shapes import filler_pieces  # noqa: E402

NOISE = torch.from_numpy((0.02 * numpy.random.default_rng(0).standard_normal(1 << 25)).astype(numpy.float16))


def random(*shape, dtype=torch.float16):
    """Noise that costs nothing to make: the same numbers over and over."""
    count = int(numpy.prod(shape))
    repeats = -(-count // NOISE.numel())
    values = NOISE.repeat(repeats)[:count] if repeats > 1 else NOISE[:count]
    return values.reshape(shape).to(dtype).contiguous().clone()


def linear(name, rows, columns, has_bias=True, dtype=torch.float16):
    tensors = {f"{name}.weight": random(rows, columns, dtype=dtype)}
    return tensors | ({f"{name}.bias": random(rows, dtype=dtype)} if has_bias else {})


def norm(name, width, has_bias=True, dtype=torch.float16):
    tensors = {f"{name}.weight": torch.ones(width, dtype=dtype)}
    return tensors | ({f"{name}.bias": torch.zeros(width, dtype=dtype)} if has_bias else {})


def llama_layer(prefix, width, inner, kv_width):
    tensors = norm(f"{prefix}.input_layernorm", width, False) | norm(f"{prefix}.post_attention_layernorm", width, False)
    for name, rows in (("q", width), ("k", kv_width), ("v", kv_width), ("o", width)):
        tensors |= linear(f"{prefix}.self_attn.{name}_proj", rows, width, False)
    for name, rows, columns in (("gate", inner, width), ("up", inner, width), ("down", width, inner)):
        tensors |= linear(f"{prefix}.mlp.{name}_proj", rows, columns, False)
    return tensors


def llama(stem, head, vocabulary, width=4096, inner=11008, layers=32, kv_width=4096):
    """The tensors of a decoder, some at a time."""
    yield {f"{stem}.embed_tokens.weight": random(vocabulary, width)}
    for index in range(layers):
        yield llama_layer(f"{stem}.layers.{index}", width, inner, kv_width)
    yield norm(f"{stem}.norm", width, False) | linear(head, vocabulary, width, False)


def write_shards(folder, parts, shard_bytes, stem, ending, save):
    """Writes tensors in shards of about so many bytes, and the index of Hugging Face."""
    shards, shard, size = [], {}, 0
    for part in parts:
        shard |= part
        size += sum(value.numel() * value.element_size() for value in part.values())
        if size >= shard_bytes:
            save(shard, folder / f"part-{len(shards)}")
            shards.append(list(shard))
            shard, size = {}, 0
    if shard:
        save(shard, folder / f"part-{len(shards)}")
        shards.append(list(shard))
    weight_map = {}
    for index, names in enumerate(shards):
        file = f"{stem}-{index + 1:05}-of-{len(shards):05}.{ending}"
        (folder / f"part-{index}").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    write_json(folder / f"{stem}.{ending}.index.json", {"metadata": {}, "weight_map": weight_map})


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_tokenizer(folder, size, extra=(), read_by="LlamaTokenizer"):
    """Llama's kind of tokenizer.json: byte fallback, a leading space, and fillers up to the last id."""
    pieces = filler_pieces(size)
    special = [(index, pieces[index]) for index in range(3)] + [(size + at, text) for at, text in enumerate(extra)]
    added = [{"id": index, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for index, text in special]
    write_json(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                     {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "merges": [],
                  "vocab": {piece: index for index, piece in enumerate(pieces)}}})
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": read_by, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False})


def llama_config(**changes):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096,
            "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32, "hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
            "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, "torch_dtype": "float16", **changes}


def encoder_layer(prefix, width, inner):
    tensors = norm(f"{prefix}.layer_norm1", width) | norm(f"{prefix}.layer_norm2", width)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        tensors |= linear(f"{prefix}.self_attn.{name}", width, width)
    return tensors | linear(f"{prefix}.mlp.fc1", inner, width) | linear(f"{prefix}.mlp.fc2", width, inner)


def clip(prefix, width=1024, inner=4096, layers=24, patch=14, side=336):
    tensors = {f"{prefix}.embeddings.class_embedding": random(width),
               f"{prefix}.embeddings.patch_embedding.weight": random(width, 3, patch, patch),
               f"{prefix}.embeddings.position_embedding.weight": random((side // patch) ** 2 + 1, width)}
    for index in range(layers):
        tensors |= encoder_layer(f"{prefix}.encoder.layers.{index}", width, inner)
    return tensors | norm(f"{prefix}.pre_layrnorm", width) | norm(f"{prefix}.post_layernorm", width)


def save_safetensors(shard, path):
    save_file(shard, path, metadata={"format": "pt"})


def llava_7b(folder):
    llava(folder, width=4096, inner=11008, layers=32, heads=32)


def clip_l_336(folder):
    """All layers of the encoder are used, so that others need not be told to leave one out."""
    llava(folder, width=64, inner=128, layers=1, heads=1, feature_layer=-1)


def llava(folder, width, inner, layers, heads, feature_layer=-2):
    projector = "multi_modal_projector"

    def tensors():
        yield clip("vision_tower.vision_model")
        yield linear(f"{projector}.linear_1", width, 1024) | linear(f"{projector}.linear_2", width, width)
        yield from llama("language_model.model", "language_model.lm_head", 32064, width, inner, layers, width)

    write_shards(folder, tensors(), 5e9, "model", "safetensors", save_safetensors)
    text = llama_config(vocab_size=32064, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
                        num_attention_heads=heads, num_key_value_heads=heads)
    write_json(folder / "config.json", {
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "ignore_index": -100,
        "image_token_index": 32000, "pad_token_id": 32001, "projector_hidden_act": "gelu", "text_config": text,
        "torch_dtype": "float16", "vision_feature_layer": feature_layer, "vision_feature_select_strategy": "default",
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336,
                          "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
                          "patch_size": 14, "projection_dim": 768}})
    write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 336, "width": 336},
        "size": {"shortest_edge": 336}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True, "resample": 3, "rescale_factor": 1 / 255,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]})
    write_json(folder / "processor_config.json", {
        "processor_class": "LlavaProcessor", "image_token": "<image>", "patch_size": 14,
        "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"})
    system = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
              "detailed, and polite answers to the user's questions.")
    write_chat_template(folder, f"{system} USER: ", "<image>\n", " ASSISTANT:")
    write_tokenizer(folder, 32000, extra=("<image>", "<pad>"))


def write_chat_template(folder, before, image, behind):
    """Of one question: what stands before it, for each picture, and behind it."""
    before, image, behind = (json.dumps(text) for text in (before, image, behind))
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ " + before + " }}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}{{ " + image + " }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        "{% endfor %}{% if add_generation_prompt %}{{ " + behind + " }}{% endif %}")


def siglip(stem, width=768, inner=3072, layers=12, patch=16, side=512):
    tensors = {f"{stem}.embeddings.patch_embedding.weight": random(width, 3, patch, patch),
               f"{stem}.embeddings.patch_embedding.bias": random(width),
               f"{stem}.embeddings.position_embedding.weight": random((side // patch) ** 2, width)}
    for index in range(layers):
        tensors |= encoder_layer(f"{stem}.encoder.layers.{index}", width, inner)
    return tensors | norm(f"{stem}.post_layernorm", width)


def smolvlm_256m(folder):
    """A picture is one tile, of 64 rows, and is not split."""
    places = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    extra = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *places)
    vocabulary = 49152 + len(extra)

    def tensors():
        yield siglip("model.vision_model")
        yield linear("model.connector.modality_projection.proj", 576, 16 * 768, False)
        yield from llama("model.text_model", "lm_head", vocabulary, 576, 1536, 30, 192)

    write_shards(folder, tensors(), 5e9, "model", "safetensors", save_safetensors)
    text = llama_config(vocab_size=vocabulary, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, rope_theta=1e5)
    write_json(folder / "config.json", {
        "architectures": ["Idefics3ForConditionalGeneration"], "model_type": "idefics3", "scale_factor": 4,
        "image_token_id": 49153, "tie_word_embeddings": False, "torch_dtype": "float16", "text_config": text,
        "vision_config": {"model_type": "idefics3_vision", "hidden_size": 768, "image_size": 512, "patch_size": 16,
                          "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}})
    write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "Idefics3ImageProcessor", "do_convert_rgb": True, "do_image_splitting": False,
        "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, "resample": 1,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255,
        "max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 512}})
    write_json(folder / "processor_config.json", {"processor_class": "Idefics3Processor", "image_seq_len": 64})
    write_chat_template(folder, "User:", "<image>", "<end_of_utterance>\nAssistant:")
    # A class that takes the file as it is: others then read the same prompt.
    write_tokenizer(folder, 49152, extra=extra, read_by="PreTrainedTokenizerFast")


def eva(width=1408, inner=6144, layers=40, patch=14, side=224):
    """As `eva_vit_g.pth` names it: no bias for keys, and one block more than is used."""
    state = {"cls_token": random(1, 1, width), "pos_embed": random(1, (side // patch) ** 2 + 1, width),
             **linear("patch_embed.proj", width, 3 * patch * patch)}
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].reshape(width, 3, patch, patch)
    for index in range(layers):
        block = f"blocks.{index}"
        state |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        state |= {f"{block}.attn.q_bias": random(width), f"{block}.attn.v_bias": random(width)}
        state |= linear(f"{block}.attn.qkv", 3 * width, width, False) | linear(f"{block}.attn.proj", width, width)
        state |= linear(f"{block}.mlp.fc1", inner, width) | linear(f"{block}.mlp.fc2", width, inner)
    return state | norm("norm", width) | linear("head", 1000, width)


def q_former(width=768, inner=3072, layers=12, seen=1408):
    """The part of BLIP-2's checkpoint that MiniGPT-4 reads, in f32 as it is published."""
    single, bert = {"dtype": torch.float32}, "Qformer.bert"
    state = {"query_tokens": random(1, 32, width, **single), **norm("ln_vision", seen, **single),
             **norm(f"{bert}.embeddings.LayerNorm", width, **single)}
    for index in range(layers):
        layer = f"{bert}.encoder.layer.{index}"
        kinds = [("attention", width)] + ([("crossattention", seen)] if index % 2 == 0 else [])
        for kind, source in kinds:
            state |= linear(f"{layer}.{kind}.self.query", width, width, **single)
            state |= linear(f"{layer}.{kind}.self.key", width, source, **single)
            state |= linear(f"{layer}.{kind}.self.value", width, source, **single)
            state |= linear(f"{layer}.{kind}.output.dense", width, width, **single)
            state |= norm(f"{layer}.{kind}.output.LayerNorm", width, **single)
        state |= linear(f"{layer}.intermediate_query.dense", inner, width, **single)
        state |= linear(f"{layer}.output_query.dense", width, inner, **single)
        state |= norm(f"{layer}.output_query.LayerNorm", width, **single)
    return state


def minigpt4_7b(folder):
    vicuna = folder / "vicuna-7b"
    vicuna.mkdir()
    write_shards(vicuna, llama("model", "lm_head", 32000), 9e9, "pytorch_model", "bin", torch.save)
    write_json(vicuna / "config.json", llama_config(max_position_embeddings=2048, rms_norm_eps=1e-6))
    write_tokenizer(vicuna, 32000)
    torch.save(eva(), folder / "eva_vit_g.pth")
    torch.save({"model": q_former()}, folder / "blip2_pretrained_flant5xxl.pth")
    torch.save({"model": linear("llama_proj", 4096, 768, dtype=torch.float32)}, folder / "prerained_minigpt4_7b.pth")
    (folder / "eval.yaml").write_text(
        "model:\n  arch: minigpt4\n  model_type: pretrain_vicuna0\n  max_txt_len: 160\n  end_sym: '###'\n"
        "  low_resource: True\n  vit_model: eva_vit_g.pth\n  q_former_model: blip2_pretrained_flant5xxl.pth\n"
        "  llama_model: vicuna-7b\n  ckpt: prerained_minigpt4_7b.pth\n")


def llama_2gb(folder):
    parts = llama("model", "lm_head", 32000, width=2048, inner=5632, layers=19, kv_width=2048)
    write_shards(folder, parts, 1e9, "model", "safetensors", save_safetensors)
    write_json(folder / "config.json", llama_config(hidden_size=2048, intermediate_size=5632, num_hidden_layers=19,
                                                    num_attention_heads=32, num_key_value_heads=32))
    write_tokenizer(folder, 32000)


SIZES = {"llava-7b": llava_7b, "minigpt4-7b": minigpt4_7b, "llama-2gb": llama_2gb, "smolvlm-256m": smolvlm_256m,
         "clip-l-336": clip_l_336}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    SIZES[arguments.size](arguments.folder)
    noise = numpy.random.default_rng(1).integers(0, 256, (480, 640, 3), numpy.uint8)
    Image.fromarray(noise).save(arguments.folder / "picture.png")
    files = [file for file in arguments.folder.rglob("*") if file.is_file()]
    print(f"{arguments.folder}: {sum(file.stat().st_size for file in files) / 1e9:.1f} GB in {len(files)} files")


if __name__ == "__main__":
    main()
