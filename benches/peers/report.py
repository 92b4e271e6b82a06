"""What the peers' programs share: their flags, their clock and the lines they write, which are those of `bench --json`."""
import json
import os
import statistics


def add_workload(parser):
    """The flags of `bench`, under the same names."""
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--depth", type=int, default=0, help="tokens that are cached before either")
    parser.add_argument("--repetitions", type=int, default=3, help="one more goes before them and is not counted")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))


def token_ids(count, vocab, start=0):
    """Any ids will do, so long as no two neighbours are alike and none controls anything."""
    return [300 + (start + position + 1) * 7919 % (vocab - 300) for position in range(count)]


def spread(numbers):
    numbers = [round(number, 3) for number in numbers]
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


def write(**values):
    print(json.dumps(values), flush=True)


def write_speeds(arguments, prompt, decode, **what):
    """A line of `bench --json`: seconds of every prompt and of all new tokens, as speeds."""
    names = ("threads", "prompt_tokens", "new_tokens", "depth", "repetitions")
    write(**what, batch=1, **{name: getattr(arguments, name) for name in names},
          prompt_tokens_per_second=spread(arguments.prompt_tokens / one for one in prompt),
          decode_tokens_per_second=spread(arguments.new_tokens / one for one in decode))
