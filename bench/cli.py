"""The command line."""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import bench
from bench.errors import InputError
from bench.show import KINDS, describe, list_kind
from bench.spec import percent

FORMATS = ("text", "markdown", "csv", "json", "latex")
SELECTIONS = ("last", "best-val", "best-test")

TARGET = """
TARGET is the name of an experiment or paper table (see 'bench list experiments'), or the path of a YAML file.
"""

EXAMPLES = {
    "run": """
examples:
  bench run demo                                      the whole demo, on every core
  bench run demo --methods ce,gta --rates 15 --seeds 5
  bench run demo --plugin my_method.py --methods ce,my_method
  bench run photos --datasets folder:~/pictures --backbones timm:vit_tiny_patch16_224
  bench run demo --methods 'ce,gta(weight=1)' --set steps=100
Run it again to do only what is missing.
""",
    "plan": """
examples:
  bench plan demo                  how many runs, how many are done, what is left out and why
  bench plan demo --format json    every run with its id and its spec
""",
    "status": """
examples:
  bench status demo                done, failed and missing runs; the reason of each failure
  bench status demo --format json
""",
    "table": """
examples:
  bench table demo                             for the terminal
  bench table demo --format latex > demo.tex   booktabs
  bench table demo --format csv                one line a cell, with every test's p
  bench table demo --selection best-val        another point of the same curves
""",
    "figure": """
examples:
  bench figure demo                            RESULTS/figures/demo.png and .pdf
  bench figure demo --output accuracy.pdf
""",
    "list": """
examples:
  bench list methods
  bench list experiments --format json
  bench list methods --plugin ~/mine
""",
    "completion": """
examples:
  bench completion bash      what to put into ~/.bashrc: eval "$(bench completion bash)"; zsh and fish likewise
""",
    "show": """
examples:
  bench show gta               a method: paper, hyper-parameters, where each value comes from
  bench show micro_vit
  bench show timm:vit_tiny_patch16_224
  bench show 3f9a1c2b7d10      a run, by the beginning of its id
""",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is said."""

    def error(self, message: str) -> NoReturn:
        print(f"bench: {message} (see '{self.prog} --help')", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0 done, 1 some runs failed, 2 bad input, 130 stopped by Ctrl-C."""
    parser = build_parser()
    with contextlib.suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except InputError as error:
        for problem in error.problems:
            print(f"bench: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of a pipe has gone: nothing is wrong
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The whole command line as an argparse parser."""
    parser = _Parser(prog="bench", description="A benchmark suite for fine-tuning vision backbones.")
    parser.add_argument("--version", action="version", version=f"bench {bench.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    run = _target_command(commands, "run", run_command, "train what is missing, then print the table")
    run.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time (default: one a GPU, or else one a core with 2 GB of memory)",
    )
    run.add_argument("--retry", action="store_true", help="train again what failed before")
    plan = _target_command(commands, "plan", plan_command, "what would be run, without running it")
    _format(plan, ("text", "json"))
    status = _target_command(commands, "status", status_command, "what is done, failed and missing")
    _format(status, ("text", "json"))
    table = _target_command(commands, "table", table_command, "the table, from the records there are")
    _format(table, FORMATS)
    table.add_argument("--width", type=int, metavar="N", help="columns of the text format (default: the terminal's)")
    figure = _target_command(commands, "figure", figure_command, "accuracy against sampling rate")
    figure.add_argument("--output", type=Path, metavar="FILE", help="a .png or .pdf file (default: both, in RESULTS)")

    listing = _command(commands, "list", list_command, "what there is")
    listing.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    _plugin(listing)
    _format(listing, ("text", "json"))
    show = _command(commands, "show", show_command, "the card of a method, backbone, dataset, experiment or run")
    show.add_argument("name", metavar="NAME")
    _plugin(show)
    _results(show)
    _format(show, ("text", "json"))
    completion = _command(commands, "completion", completion_command, "how to complete names with the Tab key")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh, fish")
    return parser


def run_command(options: argparse.Namespace) -> int:
    """Train what is missing, then print the table and where everything lies."""
    from bench.launch import Job, LocalExecutor, run
    from bench.launch.local import default_jobs
    from bench.progress import Watch
    from bench.report import write_figure, write_tables
    from bench.state import state
    from bench.tables import render

    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least one run at a time is needed")
    plan, store = _plan(options), bench.Store(options.results)
    job = Job(Path(options.results).expanduser(), plan_plugins(options), shlex.join(["bench", *sys.argv[1:]]))
    before = state(plan, store)
    watch = Watch(before, options.retry)
    executor = LocalExecutor(options.jobs or default_jobs())
    try:
        with watch:
            run(plan.unique.values(), job, executor, watch.event, retry=options.retry)
    except KeyboardInterrupt:
        print(f"stopped after {watch.done} runs, which are kept; run the same command again to go on")
        return 130
    after, table = state(plan, store), bench.fill(plan, store)
    print(render(table), end="")
    name = plan.experiment.variant
    written = write_tables(table, store.root / "tables", name)
    figures = write_figure(table, store.root / "figures", name) if table.finished and _has_rates(table) else []
    _tell_end(watch, after, [written["latex"], written["csv"], *figures], plan.experiment.next)
    return 1 if after.failed else 0


def plan_command(options: argparse.Namespace) -> int:
    """Print what would be run."""
    from bench.spec import to_json
    from bench.state import state

    plan = _plan(options)
    now = state(plan, bench.Store(options.results))
    if options.format == "json":
        runs = [{"id": run.spec.id, "axes": dict(run.axes), "spec": to_json(run.spec)} for run in plan.runs]
        left_out = [{"axes": dict(cell.axes), "reason": cell.reason} for cell in plan.excluded]
        _print_json({"experiment": plan.experiment.name, "runs": runs, "excluded": left_out, "done": now.done})
        return 0
    experiment = plan.experiment
    print(f"{experiment.name}: {experiment.title}")
    for noun, names in (
        ("method", [entry.label for entry in experiment.methods]),
        ("backbone", [card.name for card in experiment.backbones]),
        ("dataset", [card.title for card in experiment.datasets]),
        ("rate", [percent(rate) for rate in experiment.rates]),
        ("seed", [str(seed) for seed in experiment.seeds]),
    ):
        print(f"  {len(names):>3} {noun + 's' * (len(names) != 1):10} {', '.join(names)}")
    print(f"{now.runs} different runs: {now.done} done, {len(now.failed)} failed, {now.missing} to train")
    if now.done and now.missing:
        hours = now.seconds / now.done * now.missing / 3600
        print(f"about {hours:.2g} hours of one core or GPU, from the time of the {now.done} finished runs")
    _print_excluded(plan)
    return 0


def status_command(options: argparse.Namespace) -> int:
    """Print what is done, failed and missing."""
    from bench.state import state

    plan = _plan(options)
    now = state(plan, bench.Store(options.results))
    if options.format == "json":
        told = {"runs": now.runs, "done": now.done, "missing": now.missing, "failed": list(now.failed)}
        _print_json({"experiment": plan.experiment.name, **told, "damaged": list(now.damaged)})
        return 0
    print(f"{plan.experiment.name}: {now.runs} runs: {now.done} done, {len(now.failed)} failed, {now.missing} missing")
    _print_failed(now)
    for folder in now.damaged:
        print(f"  damaged, counts as missing: {folder} ('bench run' sets it aside and trains it again)")
    _print_excluded(plan)
    return 0


def table_command(options: argparse.Namespace) -> int:
    """Print the table."""
    from bench.tables import render

    if options.width is not None and options.width < 20:
        raise InputError(f"--width {options.width}: a table needs at least 20 columns")
    plan, store = _plan(options), bench.Store(options.results)
    table = bench.fill(plan, store)
    for folder in store.damaged:
        print(f"bench: {folder} is damaged and counts as missing; 'bench run' trains it again", file=sys.stderr)
    print(render(table, options.format, options.width), end="")
    return 0


def figure_command(options: argparse.Namespace) -> int:
    """Draw the figure."""
    from bench.report import write_figure
    from bench.tables.figure import figure

    if options.output is not None and options.output.suffix not in (".png", ".pdf"):
        raise InputError(f"--output {options.output}: a figure is a .png or a .pdf file")
    plan, store = _plan(options), bench.Store(options.results)
    table = bench.fill(plan, store)
    if not table.finished:
        raise InputError(f"{plan.experiment.name}: nothing to draw: {store.root} has no finished run of it")
    try:
        if options.output is None:
            store.check_writable()
            paths = write_figure(table, store.root / "figures", plan.experiment.variant)
        else:
            figure(table, [options.output])
            paths = [options.output]
    except ValueError as error:
        raise InputError(f"{plan.experiment.name}: {error}") from None
    except OSError as error:
        raise InputError(f"--output {options.output}: {error.strerror}") from None
    print("\n".join(str(path) for path in paths))
    return 0


def list_command(options: argparse.Namespace) -> int:
    """Print what there is of a kind."""
    rows = list_kind(options.kind, bench.Registry(options.plugin))
    if options.format == "json":
        _print_json(rows)
        return 0
    if not rows:
        print(f"there are no {options.kind} yet")
    wide = max((len(row["name"]) for row in rows), default=0)
    room = max(20, shutil.get_terminal_size().columns - wide - 2) if sys.stdout.isatty() else 10_000
    for row in rows:
        about = row["about"]
        print(f"{row['name']:{wide}}  {about if len(about) <= room else about[: room - 3] + '...'}")
    return 0


def show_command(options: argparse.Namespace) -> int:
    """Print a card."""
    found = describe(options.name, bench.Registry(options.plugin), bench.Store(options.results))
    if options.format == "json":
        _print_json([card.facts for card in found])
        return 0
    print("\n\n".join(card.text for card in found))
    return 0


def completion_command(options: argparse.Namespace) -> int:
    """Print the line that switches completion on."""
    import argcomplete

    print(argcomplete.shellcode(["bench"], shell=options.shell), end="")
    return 0


def plan_plugins(options: argparse.Namespace) -> tuple[Path, ...]:
    """The user's files and folders, as absolute paths."""
    return bench.Registry(options.plugin).plugins  # type: ignore[no-any-return]


def _plan(options: argparse.Namespace) -> Any:
    overrides = bench.Overrides(
        methods=options.methods,
        backbones=options.backbones,
        datasets=options.datasets,
        rates=options.rates,
        seeds=options.seeds,
        settings=tuple(options.set),
        selection=options.selection,
        split=options.split,
    )
    return bench.expand(bench.read_experiment(options.target, bench.Registry(options.plugin), overrides))


def _command(commands: Any, name: str, command: Callable[[argparse.Namespace], int], about: str) -> _Parser:
    parser: _Parser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=EXAMPLES.get(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _target_command(commands: Any, name: str, command: Callable[[argparse.Namespace], int], about: str) -> _Parser:
    parser = _command(commands, name, command, about)
    target = parser.add_argument("target", metavar="TARGET", help="an experiment, a paper table, or a YAML file")
    target.completer = lambda **_: list(bench.Registry().experiment_files)  # type: ignore[attr-defined]
    for axis, example in (
        ("methods", "ce,gta(weight=0.3)"),
        ("backbones", "micro_vit,timm:NAME@none"),
        ("datasets", "digits,folder:PATH"),
        ("rates", "15,100"),
        ("seeds", "5 (how many) or 0,1,7 (which)"),
    ):
        parser.add_argument(f"--{axis}", default="", metavar="LIST", help=f"in place of the target's: {example}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a protocol setting: steps=100")
    parser.add_argument("--selection", default="", metavar="RULE", help=", ".join(SELECTIONS))
    parser.add_argument("--split", default="", metavar="SPLIT", help="whose accuracy is shown: test, val")
    _plugin(parser)
    _results(parser)
    return parser


def _plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="PATH", help="a method file, or a folder with methods/ in it"
    )


def _results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", default="results", metavar="DIR", help="where records lie (default: results)")


def _format(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    parser.add_argument("--format", choices=formats, default="text", metavar="FORMAT", help=", ".join(formats))


def _has_rates(table: Any) -> bool:
    return "rate" in {*table.row_axes, *table.column_axes, *table.constant}


def _print_excluded(plan: Any) -> None:
    reasons = collections.Counter(cell.reason for cell in plan.excluded)
    for reason, count in reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} left out: {reason}")


def _print_failed(now: Any) -> None:
    """Failures by their message, each with one log to look at."""
    by_message: dict[str, list[dict[str, str]]] = {}
    for failure in now.failed:
        by_message.setdefault(failure["message"], []).append(failure)
    for message, failures in by_message.items():
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        print(f"  failed: {failures[0]['label']}{more}: {message}\n          {failures[0]['folder']}/log.txt")
    if now.failed:
        print("  'bench run' with --retry trains them again")


def _tell_end(watch: Any, now: Any, paths: Sequence[Path], hints: Sequence[str]) -> None:
    failed = f", {len(now.failed)} failed" if now.failed else ""
    print(f"\n{watch.done} runs were trained now, {now.done} of {now.runs} are done{failed}")
    _print_failed(now)
    print("written: " + "\n         ".join(str(path) for path in paths))
    if hints:
        print("try next:\n" + "\n".join(f"  {hint}" for hint in hints))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
