"""Runs programs in turns while nobody else uses the cores, and says in Markdown how they compare."""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

# Whether more of it is better.
FIGURES = {
    "prompt_tokens_per_second": True, "decode_tokens_per_second": True, "image_encode_ms": False,
    "first_token_ms": False, "total_ms": False, "microseconds": False,
}
OURS = "burn-vlm"


@dataclass(frozen=True)
class Key:
    """What rounds are compared by: the same case and weights, of somebody, in a setting."""
    case: str
    weights: str
    who: str
    settings: str

    def __str__(self):
        return ", ".join(word for word in vars(self).values() if word)


@dataclass(frozen=True)
class Program:
    """A command that writes JSON lines; what they do not say of case, weights and settings, this says."""
    who: str
    weights: str
    command: tuple
    case: str = ""
    settings: str = ""

    def key(self, line):
        return Key(line.get("case", self.case), self.weights or line["dtype"].lower(), self.who,
                   line.get("settings", self.settings))

    def own_key(self):
        """What it is called before it says anything."""
        return Key(self.case, self.weights, self.who, self.settings)


class TimeIsUp(Exception):
    """There is none left for another measurement, or for all of this one."""


class Failed(Exception):
    """A program could not be run, or measured nothing."""


class Quiet:
    """Runs commands while nobody else uses the cores, for so many minutes in all."""

    def __init__(self, noise, minutes):
        self.noise, self.deadline, self.thrown_away = noise, time.monotonic() + 60 * minutes, 0

    def run(self, command):
        """The JSON lines of a command, none of which was disturbed."""
        while True:
            self.wait()
            started, others = time.monotonic(), others_seconds()
            lines = json_lines(command, self.deadline - started)
            others, elapsed = others_seconds() - others, time.monotonic() - started
            if others / elapsed / os.cpu_count() <= self.noise:
                return lines
            self.thrown_away += 1

    def wait(self):
        while time.monotonic() + 1 < self.deadline:
            others = others_seconds()
            time.sleep(1)
            if (others_seconds() - others) / os.cpu_count() <= self.noise:
                return
            time.sleep(2)
        raise TimeIsUp


def json_lines(command, limit):
    """What a command measures in `limit` seconds."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=max(limit, 0))
    except OSError as error:
        raise Failed(str(error)) from None
    except subprocess.TimeoutExpired as cut:
        lines = whole_lines((cut.stdout or b"").decode())
        if not lines:
            raise TimeIsUp from None
        return lines
    lines = whole_lines(ran.stdout)
    if not lines:
        raise Failed(f"{ran.stdout[-500:]}{ran.stderr[-2000:]}".strip() or f"it ended with {ran.returncode}")
    return lines


def whole_lines(output):
    """Those in JSON."""
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]


def others_seconds():
    """What every process but this one and its children has used so far, and what the host took."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy - own.user - own.system - own.children_user - own.children_system


class Rounds:
    """Lines by key and number of the round, in `file` as soon as they are there."""

    def __init__(self, programs, figures, quiet, file):
        self.programs, self.names, self.quiet, self.file = programs, figures, quiet, file
        self.taken, self.refused, self.failed, self.left_out, self.prompts = {}, {}, {}, set(), {}

    def run(self, count):
        """Goes through all programs `count` times, every second one backwards, for as long as there is time."""
        try:
            for number in range(count):
                for program in self.programs[:: 1 if number % 2 == 0 else -1]:
                    self.measure(program, number)
                if number == 0:
                    self.keep_the_best()
        except TimeIsUp:
            print("no time is left", file=sys.stderr)

    def measure(self, program, number):
        """One that fails is left out from then on, and no other suffers."""
        try:
            lines = self.quiet.run(program.command)
        except Failed as error:
            print(f"{' '.join(program.command)} failed:\n{error}", file=sys.stderr, flush=True)
            self.programs.remove(program)
            self.failed[program.own_key()] = str(error).splitlines()[-1]
            return
        for line in lines:
            # Programs say more than figures, such as what they ran on.
            if {"error", "timings_ms", *self.names} & line.keys():
                self.take(program.key(line), line, number)
        self.save()

    def take(self, key, line, number):
        if "error" in line:
            self.refused[key] = line["error"]
            return
        read = prompt_tokens(line)
        if read is not None and self.prompts.setdefault(key.case, read) != read:
            raise SystemExit(f"{key}: the prompt has {read} tokens, of others {self.prompts[key.case]}")
        # Before it is kept: what has no figures must not stop the table either.
        figures = self.figures(line)
        self.taken.setdefault(key, {})[number] = line
        print(number, key, figures, file=sys.stderr, flush=True)

    def figures(self, line):
        return {name: figure(line, name) for name in self.names}

    def keep_the_best(self):
        """From the second round on, a setting that won no figure in the first one is left out."""
        winners = {best for key in self.taken for best in self.best_of(key).values()}
        # A program that tries its settings itself goes on trying them.
        losers = [program for program in self.programs if program.settings and program.own_key() not in winners]
        self.programs = [program for program in self.programs if program not in losers]
        self.left_out = {program.own_key() for program in losers}

    def best_of(self, key):
        """For each figure, the key of the best setting of the same peer on the same problem."""
        alike = [other for other in self.taken if other not in self.left_out and
                 (other.case, other.weights, other.who) == (key.case, key.weights, key.who)]
        return {name: sorted(alike, key=lambda other: self.median(other, name), reverse=FIGURES[name])[0]
                for name in self.names}

    def median(self, key, name):
        return statistics.median(figure(line, name) for line in self.taken[key].values())

    def ratio(self, ours, theirs, name):
        """How far we are ahead: the median of the ratios within a round."""
        rounds = self.taken[ours].keys() & self.taken[theirs].keys()
        pairs = [(figure(self.taken[ours][number], name), figure(self.taken[theirs][number], name)) for number in rounds]
        if not pairs:
            return ""
        ahead = statistics.median(us / them if FIGURES[name] else them / us for us, them in pairs)
        return f"{ahead:.2f}" if ahead >= 1 else f"**{ahead:.2f}**"

    def print_table(self):
        """A line a peer, at its best setting for each figure; ratios say how far we are ahead, losses are in bold."""
        heads = [word for name in self.names for word in (name.replace("_", " "), "ours ahead")]
        print(f"| | | | settings | {' | '.join(heads)} |\n|---|---|---|---|{'---:|' * len(heads)}")
        rows = dict.fromkeys((key.case, key.weights, key.who) for key in self.taken)
        for case, weights, who in sorted(rows, key=lambda row: self.place(*row)):
            print(f"| {case} | {weights} | {who} | {' | '.join(self.cells(case, weights, who))} |")
        print()
        for key, error in (self.refused | self.failed).items():
            print(f"* {key}: {error}")
        print(f"\n{machine()}; thrown away for noise: {self.quiet.thrown_away}")

    def place(self, case, weights, who):
        """Cases in the order in which they came, ours first."""
        cases = list(dict.fromkeys((key.case, key.weights) for key in self.taken))
        return cases.index((case, weights)), who != OURS

    def cells(self, case, weights, who):
        best = self.best_of(Key(case, weights, who, ""))
        ours = self.best_of(Key(case, weights, OURS, "")) if who != OURS and self.has_ours(case, weights) else {}
        # All settings that won something, each once.
        yield ", or ".join(dict.fromkeys(key.settings for key in best.values()))
        for name, key in best.items():
            numbers = [figure(line, name) for line in self.taken[key].values()]
            yield f"{shown(statistics.median(numbers))} ({shown(min(numbers))}-{shown(max(numbers))})"
            yield self.ratio(ours[name], key, name) if ours else ""

    def has_ours(self, case, weights):
        return any((key.case, key.weights, key.who) == (case, weights, OURS) for key in self.taken)

    def save(self):
        """Everything that was written, with the machine; the file is whole at any time."""
        rounds = [{**vars(key), "rounds": lines} for key, lines in self.taken.items()]
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps({"machine": machine(), "measured": rounds}, indent=1))
        partial.rename(self.file)


def prompt_tokens(line):
    """Of a line of whichever program, if it says so."""
    return line.get("usage", line).get("prompt_tokens")


def figure(line, name):
    """A figure of a line, of whichever program."""
    if "timings_ms" in line:
        if line["finish"] != "max_new_tokens":
            raise SystemExit("the answer of `ask` ended by itself; the peers' are as long as they may be")
        # The first token comes behind the picture and the prompt.
        first = sum(line["timings_ms"][part] for part in ("image", "encode", "prefill"))
        return {"first_token_ms": first, "total_ms": first + line["timings_ms"]["decode"]}[name]
    value = line[name]
    return value["median"] if isinstance(value, dict) else value


def shown(number):
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def machine():
    names = [line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} threads, {time.strftime('%F')}"
