"""Decoders that are measured with random weights: the sizes of real models, by the names of `bench --shape`."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Decoder:
    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    rope_theta: float = 1e4
    tied: bool = False
    # Longer than some were trained for, so that all can be measured behind a few thousand tokens.
    context: int = 8192

    @property
    def head_dim(self):
        return self.hidden // self.heads


DECODERS = {
    "smollm-135m": Decoder(49152, 576, 30, 9, 3, 1536, rope_theta=1e5, tied=True),
    "tinyllama-1.1b": Decoder(32000, 2048, 22, 32, 4, 5632),
    "llama-7b": Decoder(32000, 4096, 32, 32, 32, 11008),
    "mistral-7b": Decoder(32000, 4096, 32, 32, 8, 14336),
    "llama-13b": Decoder(32000, 5120, 40, 40, 40, 13824),
}
EPSILON = 1e-5


def filler_pieces(size):
    """A vocabulary of Llama's kind that holds every byte, the letters, and a filler for every other id."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁"] + letters
    return pieces + [f"▁filler{index}" for index in range(size - len(pieces))]
