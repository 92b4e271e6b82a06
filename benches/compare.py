#!/usr/bin/env python3
"""Measures this crate and its peers in turns, on the same problems, and prints a table in Markdown.

    pip install -r benches/peers/requirements.txt
    cargo build --release --example bench --example ask
    python3 benches/compare.py text smollm-135m --folder OUT            # prompt and decode, beside llama.cpp, transformers
    python3 benches/compare.py text SmolLM2.gguf --folder OUT           # the same with the weights of a file
    python3 benches/compare.py encode clip-l-336 --folder OUT           # one picture through an encoder
    python3 benches/compare.py question smolvlm-256m --folder OUT       # from a picture and a question to an answer
    python3 benches/compare.py attention --device cuda --folder OUT     # kernels beside PyTorch's

OUT gets the models that are made, and results-PLAN.json, which is whole at any time. Each measurement is a process of its own,
one at a time; each round goes through all of them, every second one backwards, so that a machine that slows down for a while
slows down all sides. Where a peer has settings, the first round tries them all, and those that win a figure stay. Ratios are
medians of those within a round. Shared cores do not slow all sides alike: threads that wait for each other at barriers lose
far more. So a measurement during which other processes took more than --noise of the cores is thrown away and taken again.
Behind --minutes the table says what was measured until then. A program that fails is named below it; 1 is the exit status
then. Linux only.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
PEERS = HERE / "peers"
sys.path.insert(0, str(PEERS))

from turns import OURS, Program, Quiet, Rounds  # noqa: E402

# Our names of types, and llama.cpp's.
STORED = {"f32": "F32", "bf16": "BF16", "f16": "F16", "q8": "Q8_0", "q4": "Q4_0"}
FLOATS = ("f32", "bf16", "f16")
# The models with these eyes that `real_size.py` writes.
EYES = {"clip-l-336": "clip-l-336", "siglip-b-512": "smolvlm-256m"}
QUESTION, QUESTION_TOKENS = "What is this?", 32


def main():
    arguments = parse()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    # What compiles for PyTorch would outlive it otherwise, and be taken for somebody else.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    # Whoever ends it gets the table too, and no peer goes on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before it was done"))
    programs, figures = PLANS[arguments.plan](arguments)
    results = arguments.results or arguments.folder / f"results-{arguments.plan}.json"
    rounds = Rounds(programs, figures, Quiet(arguments.noise, arguments.minutes), results)
    try:
        rounds.run(arguments.rounds)
    finally:
        rounds.print_table()
    sys.exit(bool(rounds.failed))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plans = parser.add_subparsers(dest="plan", required=True)
    text = plans.add_parser("text", help="prompt and decode of a decoder on the CPU")
    text.add_argument("source", help="a name of `bench --shape`, or a GGUF file")
    text.add_argument("--depths", type=int, nargs="+", default=[0, 2048])
    text.add_argument("--prompt-tokens", type=int, default=256)
    text.add_argument("--new-tokens", type=int, default=64)
    text.add_argument("--peers", nargs="*", choices=[peer for peer in TEXT_PEERS if peer != OURS],
                      default=["llama.cpp", "transformers"])
    encode = plans.add_parser("encode", help="one picture through an encoder on the CPU")
    encode.add_argument("encoder", choices=EYES)
    question = plans.add_parser("question", help="a picture, a question and the tokens of an answer, on the CPU")
    question.add_argument("model", help="a size of `real_size.py`, or a folder with a model and picture.png")
    attention = plans.add_parser("attention", help="the attention kernels beside PyTorch's")
    attention.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    attention.add_argument("--kernels", nargs="+", default="cargo bench --features testing --bench kernels --".split(),
                           help="the command of the kernels' bench")
    attention.add_argument("--filter", nargs="*", default=[], help="keeps the problems whose names hold every word")
    for plan, weights in ((text, STORED), (encode, FLOATS), (question, FLOATS), (attention, ("f32", "f16"))):
        plan.add_argument("--weights", nargs="+", choices=weights, default=list(weights))
        add_shared(plan)
    return parser.parse_args()


def add_shared(parser):
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for models that are made and the results")
    parser.add_argument("--results", type=pathlib.Path, help="another place for them")
    parser.add_argument("--programs", type=pathlib.Path, default="target/release/examples", help="where `bench` and `ask` lie")
    parser.add_argument("--ours", nargs=argparse.REMAINDER, default=[], help="flags for our program only; must come last")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--noise", type=float, default=0.05, help="most that others may take of the cores")
    parser.add_argument("--minutes", type=float, default=120, help="for all of it, waiting for quiet too")


def text(arguments):
    """A process for each of the depths, weights, peers and settings."""
    programs = []
    for depth in arguments.depths:
        workload = ("--depth", str(depth), "--prompt-tokens", str(arguments.prompt_tokens),
                    "--new-tokens", str(arguments.new_tokens), "--repetitions", "1")
        for weights in arguments.weights:
            for who in (OURS, *arguments.peers):
                programs += [Program(who, weights, command, f"behind {depth}", settings)
                             for settings, command in TEXT_PEERS[who](arguments, weights, workload)]
    return programs, ("prompt_tokens_per_second", "decode_tokens_per_second")


def ours_text(arguments, weights, workload):
    # The file that llama.cpp reads too.
    file = gguf_file(arguments, STORED[weights])
    yield "", (str(arguments.programs / "bench"), "--device", "cpu", "--model", file, "--weights", weights, "--json",
               *workload, *arguments.ours)


def llama_cpp(arguments, weights, workload):
    file = gguf_file(arguments, STORED[weights])
    for flash in ("on", "off"):
        for batch in ("512", "128"):
            yield f"flash attention {flash}, batch {batch}", peer(
                arguments, "llama_cpp", file, "--flash-attention", flash, "--batch", batch, *workload)


def transformers_text(arguments, weights, workload):
    if arguments.source in shapes() and weights in FLOATS:
        for how in ("eager", "compiled"):
            yield how, peer(arguments, "transformers_text", arguments.source, "--dtype", weights, "--how", how, *workload)


TEXT_PEERS = {OURS: ours_text, "llama.cpp": llama_cpp, "transformers": transformers_text}


def encode(arguments):
    """One picture through the encoder: ours with the projector, which is small here."""
    folder = model_folder(arguments, EYES[arguments.encoder])
    programs = []
    for weights in arguments.weights:
        programs.append(Program(OURS, weights, (
            str(arguments.programs / "bench"), "--device", "cpu", "--model", str(folder), "--weights", weights, "--json",
            "--prompt-tokens", "1", "--new-tokens", "1", "--repetitions", "1", *arguments.ours), arguments.encoder))
        for how in ("eager", "compiled"):
            command = peer(arguments, "transformers_vision", arguments.encoder, "--dtype", weights, "--how", how,
                           "--repetitions", "1")
            programs.append(Program("transformers", weights, command, arguments.encoder, how))
    return programs, ("image_encode_ms",)


def question(arguments):
    """One question in a fresh process, behind loading; the peer, asked again in the same one, is a case of its own."""
    folder = model_folder(arguments, arguments.model)
    picture, case = str(folder / "picture.png"), f"{folder.name}, {QUESTION_TOKENS} new tokens"
    programs = []
    for weights in arguments.weights:
        programs.append(Program(OURS, weights, (
            str(arguments.programs / "ask"), "--device", "cpu", "--model", str(folder), "--weights", weights, "--json",
            "--max-new-tokens", str(QUESTION_TOKENS), *arguments.ours, picture, QUESTION), case))
        command = peer(arguments, "transformers_question", str(folder), picture, QUESTION, "--dtype", weights,
                       "--new-tokens", str(QUESTION_TOKENS))
        programs.append(Program("transformers", weights, command, case))
    return programs, ("first_token_ms", "total_ms")


def attention(arguments):
    """Every problem in one process of either side: both check their answers first."""
    ours = (*arguments.kernels, "--device", arguments.device, "--alone", "--json", "-",
            "--filter", "attention", *arguments.filter, *arguments.ours)
    theirs = peer(arguments, "torch_attention", "--device", arguments.device, "--dtype", *arguments.weights,
                  *(("--filter", *arguments.filter) if arguments.filter else ()))
    return [Program(OURS, "", ours), Program("PyTorch", "", theirs)], ("microseconds",)


PLANS = {"text": text, "encode": encode, "question": question, "attention": attention}


def peer(arguments, program, *flags):
    return sys.executable, str(PEERS / f"{program}.py"), *flags, "--threads", str(arguments.threads)


def shapes():
    from shapes import DECODERS
    return DECODERS


def gguf_file(arguments, weights):
    from gguf_files import file_of
    return str(file_of(arguments.source, weights, arguments.folder))


def model_folder(arguments, model):
    """A folder, or a size of `real_size.py`, written once."""
    folder = pathlib.Path(model)
    if not folder.is_dir():
        folder = arguments.folder / model
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([sys.executable, HERE / "real_size.py", model, partial], check=True)
        partial.rename(folder)
    return folder


if __name__ == "__main__":
    main()
