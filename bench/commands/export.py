"""Write a run's trained model for others: ``export``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.cards.folders import typed_path
from bench.commands.options import add_command, add_plugin, add_results, say
from bench.errors import InputError, printable
from bench.notation import counted
from bench.records.record import Record
from bench.task import find_task

if TYPE_CHECKING:
    from bench.models.export import Export
    from bench.models.source import Source

EXPORT = """
Beside the file lie its facts (.json: the network, how images are brought to size, names of classes) and its card (.md).

examples:
  bench export 3fa9c1 birds.safetensors                  timm.create_model(..., checkpoint_path="birds.safetensors")
  bench export 3fa9c1 birds.safetensors --point best-val
  bench export 3fa9c1 birds --to transformers            a folder for AutoModelForImageClassification.from_pretrained
  bench export 3fa9c1 birds.onnx --to onnx               pixels in 0..1 in, logits out
A model that was not kept ('bench run --keep last') is trained again from its record; on a CPU with the same bits.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "the trained model of a run as a file that timm, transformers, ONNX or TorchScript loads, with a card"
    export = add_command(commands, "export", export_command, about, EXPORT)
    export.add_argument("run", metavar="RUN", help="the beginning of a run's id, or the path of a record.json")
    export.add_argument("out", metavar="OUT", help="the file to write; for --to transformers a folder")
    export.add_argument("--to", default="timm", metavar="FORM", help="timm (default), transformers, onnx, torchscript")
    export.add_argument(
        "--point", default="", metavar="POINT", help="last, best-val or a step (default: what is kept, or else last)"
    )
    add_plugin(export)
    add_results(export)


def export_command(options: argparse.Namespace) -> int:
    """Write the model, and say how it is loaded."""
    from bench.launch.rerun import find_record

    registry, out = bench.Registry(options.plugin), typed_path(options.out)
    stored = find_record(options.run, bench.Store(options.results))

    from bench.models.export import require_out, write
    from bench.models.model_card import model_card
    from bench.models.source import choose_point, source_of

    require_out(out, options.to)
    choice = choose_point(options.point, stored, registry)
    record = stored.record
    if isinstance(record, Record) and not find_task(record.metric.task).linear_head:
        kept = f"the files that 'bench run --keep' writes hold its backbone and its decoder ({stored.folder})"
        raise InputError(f"{record.label}: what is exported has a linear head, and it is for {record.task}; {kept}")
    command = shlex.join(["bench", *sys.argv[1:]])
    with source_of(stored, choice, registry, options.results, command, say) as source:
        export = _read(source, registry)
        notes = _notes(source, export)
        written = write(
            export, out, options.to, lambda usage: model_card(export, source.record, registry, usage, notes)
        )
    for note in notes:
        say(note)
    _tell(out, options.to, export, source.record)
    print("\n".join(f"  {line}" for line in written.usage(out).strip().splitlines() if line))
    return 0


def _read(source: Source, registry: bench.Registry) -> Export:
    from bench.models.export import Export
    from bench.models.kept import backbone_of, load_model
    from bench.records.kept import read_facts

    facts = read_facts(source.path)
    return Export(load_model(source.path, facts, registry), facts, backbone_of(facts, registry))


def _notes(source: Source, export: Export) -> tuple[str, ...]:
    """What has to be known about a model that is not, to the last bit, the one that the record's numbers are of."""
    notes = []
    if source.comparison and not source.comparison.equal:
        differing = "; ".join(source.comparison.numbers[:3])
        notes.append(
            f"The run was trained again, and this is the model of the repetition, whose numbers are not those of the "
            f"record ({differing}); equal bits are promised on a CPU alone, with the same versions."
        )
    if export.facts.half:
        notes.append(
            "The weights were kept in half precision; the accuracy is that of the model before they were rounded."
        )
    return tuple(notes)


def _tell(out: Path, form: str, export: Export, record: Record) -> None:
    from bench.models.export import beside

    point = next(point for point in record.curve if point.step == export.facts.step)
    score = f"{record.metric.title} {record.scored(point.test)} on {record.test_images or '?'} test images"
    print(printable(f"{out}: {record.label} (run {record.id}), after {counted(point.step, 'step')}: {score}"))
    facts, card = beside(out, form)
    print(printable(f"  {facts}: how it is built and given images; {card}: its card"))
