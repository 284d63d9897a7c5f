"""Ask a trained model about images: ``predict``."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

import bench
from bench.cards.folders import typed_path
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json, say
from bench.errors import InputError, printable
from bench.notation import counted
from bench.records.files import write_file
from bench.records.kept import kept_models

if TYPE_CHECKING:
    from bench.models.prediction import Answer, Tally
    from bench.models.scorer import Scorer
    from bench.records.kept import ModelFacts

PREDICT = """
examples:
  bench predict 3fa9c1 folder:~/new_birds                what a run's kept model says of images
  bench predict birds.safetensors folder:~/new_birds --output predictions.csv
  bench predict birds.safetensors digits                 the test split of a dataset
A folder holds images, or CLASS/IMAGE: then it is counted how often the model is right, if it knows these classes.
"""

MOST_NAMED = 20
"""Images that cannot be read, each in a line."""

MOST_LINES = 60
"""Classes that are listed one a line; of more, those that the model tells worst."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "what a trained model says of images: accuracy where their classes are named, and a CSV"
    predict = add_command(commands, "predict", predict_command, about, PREDICT)
    predict.add_argument(
        "model",
        metavar="RUN|FILE",
        help="the beginning of a run's id, the folder of its record, or what 'bench export' wrote",
    )
    predict.add_argument("images", metavar="IMAGES", help="folder:PATH, or a dataset")
    predict.add_argument("--point", default="", metavar="POINT", help="of a run: last, best-val or a step")
    predict.add_argument("--output", default="", metavar="FILE", help="a CSV with a line for each image")
    add_plugin(predict)
    add_results(predict)
    add_format(predict, ("text", "json"))


def predict_command(options: argparse.Namespace) -> int:
    """Print how often a model is right, and write what it says of each image; exit code 1 where one cannot be read."""
    registry = bench.Registry(options.plugin)
    output = typed_path(options.output) if options.output else None
    scorer, facts = _model(options, registry)

    import torch

    from bench.models.pictures import read_pictures
    from bench.models.prediction import answers

    pictures = read_pictures(options.images, registry)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scored = answers(scorer, facts, pictures, device)
    damaged = [answer for answer in scored if answer.problem]
    tallied = _tally(scored, facts)
    if output:
        write_file(output, as_csv(scored))
    if options.format == "json":
        print_json(_as_plain(scored, tallied, facts))
    else:
        print(printable(f"{facts.label} (run {facts.run}), the model after {counted(facts.step, 'step')}"))
        unread = f", {len(damaged):,} of them cannot be read" if damaged else ""
        print(printable(f"{pictures.title}: {counted(len(scored), 'image')}{unread}"))
        _print_counts(scored, tallied)
        if output:
            print(printable(f"written: {output}"))
    for answer in damaged[:MOST_NAMED]:
        say(printable(f"{answer.name}: it cannot be read: {answer.problem}"))
    if len(damaged) > MOST_NAMED:
        say(f"and {len(damaged) - MOST_NAMED:,} more; --output FILE or --format json has all")
    return 1 if damaged else 0


def _model(options: argparse.Namespace, registry: bench.Registry) -> tuple[Scorer, ModelFacts]:
    """The model that is named. Raises ``InputError`` where there is none."""
    is_run = re.fullmatch(r"[0-9a-f]{4,12}", options.model) or (typed_path(options.model) / "record.json").is_file()
    if not is_run:
        from bench.models.reading import load_scorer

        if options.point:
            raise InputError(f"--point {options.point}: a file holds one model; it is for a run's id")
        return load_scorer(typed_path(options.model), registry)
    from bench.launch.rerun import find_record

    stored = find_record(options.model, bench.Store(options.results))

    from bench.models.reading import load_scorer
    from bench.models.source import choose_point

    choice = choose_point(options.point, stored, registry)
    if (path := kept_models(stored.folder).get(choice.step)) is None:
        raise InputError(
            f"{stored.record.label}: its model after {counted(choice.step, 'step')} was not kept (bench run --keep); "
            f"'bench export {stored.record.id} model.safetensors' trains it again, and predict takes that file"
        )
    return load_scorer(path, registry)


def _tally(scored: list[Answer], facts: ModelFacts) -> Tally | None:
    """How often the model is right; None, and said, where that cannot be told."""
    from bench.models.prediction import tally

    try:
        return tally(scored, facts)
    except KeyError as unknown:
        listed = ", ".join(facts.classes[:6]) + ", ..." * (len(facts.classes) > 6)
        say(printable(f"no accuracy: the model knows no class '{unknown.args[0]}' (it knows {listed})"))
        return None


def _print_counts(scored: list[Answer], tallied: Tally | None) -> None:
    from bench.models.accuracy import share_in_words

    if tallied is None:
        taken = sorted({answer.predicted for answer in scored if not answer.problem})
        for name in taken[:MOST_LINES]:
            print(printable(f"  {sum(answer.predicted == name for answer in scored):6,}  taken for {name}"))
        return
    print(f"top-1: {share_in_words(tallied.right, tallied.images)}")
    rows = list(tallied.classes.items())
    if len(rows) > MOST_LINES:
        rows = sorted(rows, key=lambda row: row[1][0] / row[1][1])[:MOST_LINES]
        print(f"of {len(tallied.classes)} classes, those that it tells worst (--format json has all):")
    for name, (right, images) in rows:
        print(printable(f"  {100 * right / images:6.1f} %  {right:5,} of {images:<5,} {name}"))


def as_csv(scored: list[Answer]) -> str:
    """A line an image: its path, its class where one is named, what it is taken for and how surely, or the problem.

    Names are written as in the CSV of a table, so that no spreadsheet takes one for a formula.
    """
    from bench.sheets.records import to_field

    lines = ["path,class,predicted,confidence,problem"]
    for answer in scored:
        confidence = "" if answer.problem else f"{answer.confidence:.6g}"
        fields = (answer.name, answer.label, answer.predicted, confidence, answer.problem)
        lines.append(",".join(map(to_field, fields)))
    return "\n".join(lines) + "\n"


def _as_plain(scored: list[Answer], tallied: Tally | None, facts: ModelFacts) -> dict[str, Any]:
    from bench.models.accuracy import interval

    plain: dict[str, Any] = {"run": facts.run, "label": facts.label, "step": facts.step, "images": len(scored)}
    plain["unreadable"] = {answer.name: answer.problem for answer in scored if answer.problem}
    if tallied:
        low, high = interval(tallied.right, tallied.images)
        plain["top1"] = {"right": tallied.right, "images": tallied.images, "low": low, "high": high}
        plain["classes"] = {name: {"right": right, "images": of} for name, (right, of) in tallied.classes.items()}
    return plain
