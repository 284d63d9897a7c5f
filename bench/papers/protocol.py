"""What a paper says about how its runs are trained and scored, each value with its source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import Problems, choose
from bench.papers.stated import Stated, read_stated, settings_in
from bench.reading.document import Section
from bench.reading.keys import Key, check_keys
from bench.rules import MOST_SEEDS, SELECTIONS, SWEEPS

KEYS = (
    Key("title", (str,), "of which paper"),
    Key("settings", (dict,), "of the protocol, each `{value: ..., source: '...'}`, which may be `as: other`"),
    Key("seeds", (dict,), "how many runs a value is the mean of, with its source"),
    Key("selection", (dict,), "the point of its curve at which a run is scored, with its source"),
    Key("sweep", (dict,), "the split on which one of several weights is chosen, with its source"),
    Key(
        "margin",
        (dict,),
        "what is no difference to a printed number, in points, with its source",
        default="half of what the paper claims in each row",
    ),
    Key("notes", (list, str), "what the settings cannot say"),
)


@dataclass(frozen=True)
class PaperProtocol:
    """What a paper says about how its runs are trained and scored, as ``KEYS`` says; ``place`` is the file."""

    settings: Mapping[str, Stated]
    seeds: Stated
    selection: Stated
    sweep: Stated
    place: str
    margin: Stated | None = None
    title: str = ""

    @property
    def short_title(self) -> str:
        """What the paper is called, before the colon of its title; empty where there is none."""
        return self.title.partition(":")[0].strip() if ":" in self.title else ""


def read_paper_protocol(section: Section) -> PaperProtocol:
    """A paper's protocol from its file. Raises ``InputError``: an unknown key, or a value without its source."""
    problems = Problems()
    check_keys(section, KEYS, "key of a protocol", problems)
    settings = settings_in(section, problems)
    protocol = PaperProtocol(
        settings={key: read_stated(settings, key, problems, may_be_other=True) for key in settings},
        seeds=read_stated(section, "seeds", problems),
        selection=read_stated(section, "selection", problems),
        sweep=read_stated(section, "sweep", problems),
        place=section.source,
        margin=read_stated(section, "margin", problems) if "margin" in section else None,
        title=str(section.get("title") or ""),
    )
    margin = protocol.margin
    if margin and margin.source and not (type(margin.value) in (int, float) and 0 < margin.value < math.inf):
        problems.add(f"{section.place('margin')}: a margin is in points, above 0; it is {margin.value!r}")
    for key, rule, rules in (("selection", protocol.selection, SELECTIONS), ("sweep", protocol.sweep, SWEEPS)):
        if rule.source and rule.value not in rules:
            problems.add(f"{section.place(key)}: {choose(str(rule.value), rules, key)}")
    seeds = protocol.seeds.value
    if protocol.seeds.source and not (type(seeds) is int and 1 <= seeds <= MOST_SEEDS):
        most = f" and at most {MOST_SEEDS:,}" if type(seeds) is int and seeds > MOST_SEEDS else ""
        problems.add(f"{section.place('seeds')}: seeds is how many, at least 1{most}; it is {seeds!r}")
    problems.stop()
    return protocol
