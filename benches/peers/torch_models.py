"""Models of transformers with random weights."""
import torch
import transformers

from shapes import DECODERS, EPSILON
from torch_device import DTYPES


def random_model(kind, config, dtype, device):
    """A model of transformers, `kind`, with the weights that it starts training from."""
    with torch.device(device):
        model = kind._from_config(config, dtype=DTYPES[dtype], attn_implementation="sdpa")
    return model.eval()


def decoder(shape, dtype, device):
    sizes = DECODERS[shape]
    config = transformers.LlamaConfig(
        vocab_size=sizes.vocab, hidden_size=sizes.hidden, num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads, num_key_value_heads=sizes.kv_heads, intermediate_size=sizes.intermediate,
        max_position_embeddings=sizes.context, rms_norm_eps=EPSILON, tie_word_embeddings=sizes.tied,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta})
    return random_model(transformers.LlamaForCausalLM, config, dtype, device)


def versions():
    return f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
