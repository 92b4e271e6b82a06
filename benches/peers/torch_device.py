"""The device that PyTorch's programs run on."""
import torch

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
DEVICES = ("cpu", "cuda")


def use(device, threads):
    """Whether the device is there; sets the threads of the CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} sees no GPU")
        return False
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return True


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(device):
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"
