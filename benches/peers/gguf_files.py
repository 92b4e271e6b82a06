"""Files of llama.cpp's: of random weights in a named shape, and requantised from another file.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/gguf_files.py smollm-135m Q4_0 FILE    # random weights
    python3 benches/peers/gguf_files.py FROM.gguf Q4_0 FILE      # those of a file
"""
import argparse
import pathlib

import gguf
import numpy

from shapes import DECODERS, EPSILON, filler_pieces

TYPES = ("F32", "BF16", "F16", "Q8_0", "Q4_0", "Q4_1")
KINDS = gguf.GGMLQuantizationType
# Below eight bits llama.cpp's own quantiser keeps a table that is also the head wider than the layers; its choices of
# K-quants are not `gguf`'s to write, so it is 8 bits here.
NARROW = (KINDS.Q4_0, KINDS.Q4_1)


class Noise:
    """Random rows in a type, quantised once and then repeated."""

    def __init__(self, seed=0):
        self.rows = (0.02 * numpy.random.default_rng(seed).standard_normal((64, 1 << 15))).astype(numpy.float32)
        self.stored = {}

    def matrix(self, rows, columns, kind):
        """The stored bytes of a matrix; its values mean nothing, the same rows come again."""
        if (columns, kind) not in self.stored:
            self.stored[columns, kind] = stored(numpy.ascontiguousarray(self.rows[:, :columns]), kind)
        block = self.stored[columns, kind]
        return numpy.tile(block, (-(-rows // len(block)), 1))[:rows]


def stored(values, kind):
    """A tensor as `add_tensor` wants it: quantised, or as numbers where numpy has them."""
    if kind in (KINDS.F32, KINDS.F16):
        return values.astype(numpy.float32 if kind == KINDS.F32 else numpy.float16)
    return gguf.quantize(values, kind)


def kind_of(name, num_dimensions, kind, tied):
    """What a tensor is kept in where matrices are kept in `kind`."""
    if num_dimensions == 1:
        return KINDS.F32
    return KINDS.Q8_0 if tied and name == "token_embd.weight" and kind in NARROW else kind


def write_random(shape, weights, target):
    """A decoder of a named shape, with a vocabulary of fillers."""
    if target.exists():
        return target
    sizes, kind, noise = DECODERS[shape], KINDS[weights], Noise()
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama", use_temp_file=False)
    add_sizes(writer, sizes)
    add_vocabulary(writer, sizes.vocab)
    for name, dims in random_tensors(sizes):
        kept = kind_of(name, len(dims), kind, sizes.tied)
        values = numpy.ones(dims, numpy.float32) if len(dims) == 1 else noise.matrix(*dims, kept)
        writer.add_tensor(name, values, raw_dtype=kept)
    return finish(writer, partial, target)


def add_sizes(writer, sizes):
    writer.add_block_count(sizes.layers)
    writer.add_context_length(sizes.context)
    writer.add_embedding_length(sizes.hidden)
    writer.add_feed_forward_length(sizes.intermediate)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.kv_heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(sizes.rope_theta)
    writer.add_rope_dimension_count(sizes.head_dim)
    writer.add_vocab_size(sizes.vocab)


def add_vocabulary(writer, size):
    pieces = filler_pieces(size)
    kinds = [2] + [3] * 2 + [6] * 256 + [1] * (size - 259)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([-float(index) for index in range(size)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def random_tensors(sizes):
    """Names and dimensions of a decoder."""
    kv_width = sizes.kv_heads * sizes.head_dim
    yield "token_embd.weight", (sizes.vocab, sizes.hidden)
    for layer in range(sizes.layers):
        for name, dims in (
                ("attn_norm", (sizes.hidden,)), ("attn_q", (sizes.hidden, sizes.hidden)),
                ("attn_k", (kv_width, sizes.hidden)), ("attn_v", (kv_width, sizes.hidden)),
                ("attn_output", (sizes.hidden, sizes.hidden)), ("ffn_norm", (sizes.hidden,)),
                ("ffn_gate", (sizes.intermediate, sizes.hidden)), ("ffn_up", (sizes.intermediate, sizes.hidden)),
                ("ffn_down", (sizes.hidden, sizes.intermediate))):
            yield f"blk.{layer}.{name}.weight", dims
    yield "output_norm.weight", (sizes.hidden,)
    if not sizes.tied:
        yield "output.weight", (sizes.vocab, sizes.hidden)


def requantised(source, weights, target):
    """A file with the matrices of `source` in the type `weights`, by way of f32; vectors stay in F32."""
    if target.exists():
        return target
    reader, kind = gguf.GGUFReader(source), KINDS[weights]
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, arch=reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        kept = kind_of(tensor.name, values.ndim, kind, tied)
        writer.add_tensor(tensor.name, stored(values, kept), raw_dtype=kept)
    return finish(writer, partial, target)


def finish(writer, partial, target):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.rename(target)


def file_of(source, weights, folder):
    """The file of a shape, or of the weights of another file, in a type: made once, kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if source in DECODERS:
        return write_random(source, weights, folder / f"{source}-{weights}.gguf")
    source = pathlib.Path(source)
    return requantised(source, weights, folder / f"{source.stem}-as-{weights}.gguf")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help=f"a file, or one of {', '.join(DECODERS)}")
    parser.add_argument("weights", choices=TYPES)
    parser.add_argument("target", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.source in DECODERS:
        write_random(arguments.source, arguments.weights, arguments.target)
    else:
        requantised(arguments.source, arguments.weights, arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
