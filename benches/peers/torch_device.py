"""The device that PyTorch's programs run on."""
import torch
from torch._inductor import config as inductor

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
DEVICES = ("cpu", "cuda")
# Without compilation, and with it: what is better depends on the problem, so both are measured.
HOWS = ("eager", "compiled")


def add_device(parser, default="cpu"):
    parser.add_argument("--device", choices=DEVICES, default=default)
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["f32", "bf16"])
    parser.add_argument("--how", choices=HOWS, nargs="+", default=HOWS)


def use(device, threads):
    """Whether the device is there; sets the threads of the CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} sees no GPU")
        return False
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return True


def compiled(function, device, how):
    """The function itself, or compiled: on a GPU as a CUDA graph, which leaves the host out, on the CPU with packed weights."""
    if how == "eager":
        return function
    inductor.freezing = device == "cpu"
    return torch.compile(function, mode="reduce-overhead" if device == "cuda" else "default", dynamic=False)


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(device):
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"
