#!/usr/bin/env python3
"""How often greedy answers of a real model stay what float32 gives, for this crate's weight types and for llama.cpp's.

    pip install -r benches/peers/requirements.txt
    cargo build --release --example ask --example logits
    python3 benches/agreement.py --folder OUT

The model is SmolLM2-135M-Instruct (`peers/smollm2.py`), the reference transformers in float32. All start from the same floats:
this crate rounds them while it loads, llama.cpp reads files that `gguf` rounded. The floats once were Q4_1, so that type loses
nothing here that it did not lose before. Per side:

* answers whose ids are all equal, of the questions in agreement_questions.txt; at most --new-tokens each;
* the mean number of ids that are equal from the beginning, of the mean length;
* along the reference's own ids ("teacher forcing"): the share of tokens that would be chosen too, and the mean KL divergence
  from the reference's distribution, in nats. llama.cpp is asked for the likeliest 4096 tokens; the rest are taken as one.
"""
import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import numpy
import torch
import transformers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

import smollm2  # noqa: E402
from gguf_files import TYPES, requantised  # noqa: E402
from llama_cpp import Server  # noqa: E402

OURS = ("f32", "f16", "bf16", "q8", "q4")
# Naming every token of the vocabulary would take ten times as long, and tells the same.
LIKELIEST = 4096


@dataclass
class Question:
    text: str
    prompt: list
    # What float32 answers, and the id that ended it, if one did.
    answer: list
    end: list
    # Log-probabilities from which each of `forced` was chosen, [tokens, vocabulary].
    expected: numpy.ndarray

    @property
    def forced(self):
        """The ids whose choice is looked at."""
        return self.answer + self.end


@torch.inference_mode()
def reference(folder, new_tokens):
    """What transformers answers in float32."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ends = numpy.atleast_1d(model.generation_config.eos_token_id)
    for text in (HERE / "agreement_questions.txt").read_text().splitlines():
        chat = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        ids = model.generate(torch.tensor([prompt]), max_new_tokens=new_tokens, do_sample=False)[0, len(prompt):].tolist()
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1:-1]
        length = len(ids) - (ids[-1] in ends)
        yield Question(text, prompt, ids[:length], ids[length:], logits.log_softmax(-1).numpy())


class Ours:
    """This crate, through its programs."""

    def __init__(self, weights, model, arguments):
        self.name, self.weights, self.programs = "burn-vlm", weights, arguments.programs
        self.new_tokens = str(arguments.new_tokens)
        self.flags = ("--model", str(model), "--device", "cpu", "--weights", weights)

    def answer(self, question):
        command = [self.programs / "ask", *self.flags, "--json", "--max-new-tokens", self.new_tokens, question.text]
        said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        assert said["usage"]["prompt_tokens"] == len(question.prompt), "the prompts are not the same"
        return said["token_ids"]

    def logits(self, questions):
        """Those of every question, from one process."""
        lines = [json.dumps({"prompt_ids": one.prompt, "generated_ids": one.forced}) for one in questions]
        ran = subprocess.run([self.programs / "logits", *self.flags], input="\n".join(lines).encode(),
                             stdout=subprocess.PIPE, check=True)
        numbers, vocab = numpy.frombuffer(ran.stdout, "<f4"), questions[0].expected.shape[1]
        borders = numpy.cumsum([len(one.forced) for one in questions])[:-1]
        return [log_softmax(part) for part in numpy.split(numbers.reshape(-1, vocab), borders)]


class LlamaCpp:
    """llama.cpp, on a file whose matrices are of the type."""

    def __init__(self, weights, model, arguments):
        self.name, self.weights, self.new_tokens = "llama.cpp", weights, arguments.new_tokens
        file = requantised(model, weights, arguments.folder / f"smollm2-135m-{weights}.gguf")
        self.server = Server(file, 1024, arguments.threads)

    def answer(self, question):
        ids = [token["id"] for token in self.tokens(question.prompt, self.new_tokens, 1)]
        # It tells what ended the answer, too.
        return ids[:-1] if ids[-1:] == question.end else ids

    def tokens(self, read, new_tokens, likeliest):
        """The chosen ones, each with the likeliest in its place."""
        said = self.server.ask(read, new_tokens, ignore_eos=False, logprobs=likeliest)
        return said["choices"][0]["logprobs"]["content"]

    def logits(self, questions):
        return [self.along(question) for question in questions]

    def along(self, question):
        rows = numpy.full_like(question.expected, -numpy.inf)
        for index in range(len(rows)):
            [token] = self.tokens(question.prompt + question.forced[:index], 1, LIKELIEST)
            for one in token["top_logprobs"]:
                rows[index, one["id"]] = one["logprob"]
        return rows


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(-1, keepdims=True))


def leading(found, wanted):
    """How many ids are equal from the beginning."""
    pairs = enumerate(zip(found, wanted))
    return next((index for index, (ours, theirs) in pairs if ours != theirs), min(len(found), len(wanted)))


def divergence(expected, found):
    """KL of a row, in nats; what a side has no number for is taken as one token."""
    expected, found, named = log_softmax(expected.astype(numpy.float64)), found.astype(numpy.float64), numpy.isfinite(found)
    if named.all():
        found = log_softmax(found)
    else:
        expected, found = with_rest(expected[named]), with_rest(found[named])
    return (numpy.exp(expected) * (expected - found)).sum()


def with_rest(named):
    """Log-probabilities, and that of all others together."""
    return numpy.append(named, numpy.log(max(1 - numpy.exp(named).sum(), 1e-12)))


def measure(side, questions):
    """The line of a side."""
    answers = [side.answer(question) for question in questions]
    equal = [found == question.answer for found, question in zip(answers, questions)]
    counts = [leading(found, question.answer) for found, question in zip(answers, questions)]
    rows = side.logits(questions)
    chosen = numpy.concatenate([found.argmax(-1) == one.expected.argmax(-1) for found, one in zip(rows, questions)])
    kl = [divergence(*pair) for found, one in zip(rows, questions) for pair in zip(one.expected, found)]
    return {"who": side.name, "weights": side.weights, "equal": sum(equal), "questions": len(questions),
            "leading": float(numpy.mean(counts)), "length": float(numpy.mean([len(one.answer) for one in questions])),
            "top1": float(chosen.mean()), "tokens": len(chosen), "kl": float(numpy.mean(kl)),
            "different": [one.text for one, same in zip(questions, equal) if not same]}


def print_table(lines):
    print("| | weights | equal answers | leading ids equal | same choice | mean KL, nats |\n|---|---|---:|---:|---:|---:|")
    for line in lines:
        print(f"| {line['who']} | {line['weights']} | {line['equal']} of {line['questions']} "
              f"| {line['leading']:.1f} of {line['length']:.1f} | {line['top1']:.2%} of {line['tokens']} | {line['kl']:.2e} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for the model, the peer's files, agreement.json")
    parser.add_argument("--programs", type=pathlib.Path, default="target/release/examples", help="where `ask`, `logits` lie")
    parser.add_argument("--ours", nargs="*", choices=OURS, default=OURS)
    parser.add_argument("--llama-cpp", nargs="*", choices=TYPES, default=("F16", "Q8_0", "Q4_0", "Q4_1"))
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--questions", type=int, help="only the first so many")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    file, floats = smollm2.fetch(arguments.folder), smollm2.floats(arguments.folder)
    questions = list(itertools.islice(reference(floats, arguments.new_tokens), arguments.questions))
    lines = []
    sides = [(Ours, weights, floats) for weights in arguments.ours]
    sides += [(LlamaCpp, weights, file) for weights in arguments.llama_cpp]
    for kind, weights, model in sides:
        lines.append(measure(kind(weights, model, arguments), questions))
        print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
        (arguments.folder / "agreement.json").write_text(json.dumps(lines, indent=1))
    print_table(lines)


if __name__ == "__main__":
    main()
