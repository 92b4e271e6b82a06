"""What the peers' programs share: their flags, their clock and the lines they write, which are those of `bench --json`."""
import json
import os
import statistics
import time


def add_workload(parser, has_depth=True):
    """The flags of `bench`, under the same names and with the same defaults."""
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=128)
    if has_depth:
        parser.add_argument("--depth", type=int, default=0, help="tokens that are cached before either")
    else:
        parser.set_defaults(depth=0)
    add_repetitions(parser)


def add_repetitions(parser):
    parser.add_argument("--repetitions", type=int, default=5, help="one more goes before them and is not counted")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))


def token_ids(count, vocab, start=0):
    """Any ids will do, so long as no two neighbours are alike and none controls anything."""
    return [300 + (start + position + 1) * 7919 % (vocab - 300) for position in range(count)]


def seconds(run, repetitions, settle=lambda: None):
    """How long each call takes, behind one that is not counted; `settle` waits for a device."""
    taken = []
    for _ in range(repetitions + 1):
        settle()
        started = time.perf_counter()
        run()
        settle()
        taken.append(time.perf_counter() - started)
    return taken[1:]


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
