"""Bad invocations of every command: exit code 2, a few lines that say what is wrong, and nothing else happens."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import MOST_PROBLEMS, main

Said = str | tuple[str, ...]
"""What the lines must contain."""

SECONDS = 3.0
"""CPU time that saying no may take, most generously."""

LONG = "x" * 5000

# ---- experiments: what differs from a sound one, and what is said of it

SOUND = {
    "methods": "[ce]",
    "backbones": "[micro_vit]",
    "datasets": "[digits]",
    "rates": "[15]",
    "seeds": "2",
    "protocol": "{steps: 5}",
}

EXPERIMENTS: dict[str, tuple[dict[str, str], Said]] = {
    "a misspelt key": ({"metods": "[ce]"}, (":7: ", "did you mean 'methods'?")),
    "a key that is a number": ({"5": "6"}, ":7: no key of an experiment is called '5'"),
    "a key that is null": ({"null": "6"}, ":7: no key of an experiment is called 'null'"),
    "a key twice": ({"rates ": "[30]"}, ":7: 'rates' is written twice (first on line 4)"),
    "a title that is a number": ({"title": "5"}, ":7: 'title' must be a text, not 5"),
    "a title that clears the screen": ({"title": r'"\e[2J"'}, (":7: ", "U+001B, which cannot be printed")),
    "a title written backwards": ({"title": r'"\u202e"'}, (":7: ", "U+202E, which cannot be printed")),
    "a title with NUL": ({"title": r'"a\0b"'}, (":7: ", "U+0000, which cannot be printed")),
    "a title of half a character": ({"title": r'"\ud800"'}, ":7: malformed YAML"),
    "a next that is a text": ({"next": "bench run"}, ":7: 'next' must be a list"),
    "a next that is a mapping": ({"next": "{a: 1}"}, ":7: 'next' must be a list"),
    "no methods": ({"methods": "[]"}, ":1: 'methods' must list at least one method"),
    "methods that are null": ({"methods": "null"}, ":1: 'methods' must be a list or a mapping or a text, not None"),
    "a method that is a number": ({"methods": "[5]"}, ":1: '5' must be a method's name"),
    "a method that is a list": ({"methods": "[[ce]]"}, "must be a method's name"),
    "a method that is empty": ({"methods": "['']"}, "must be a method's name"),
    "a method that is a space": ({"methods": "[' ']"}, "must be a method's name"),
    "a method that is unknown": ({"methods": "[cee]"}, ":1: no method is called 'cee'; did you mean 'ce'?"),
    "a method of a path": ({"methods": "[../methods/ce]"}, "no method is called '../methods/ce'"),
    "a method twice": ({"methods": "[ce, ce]"}, ":1: two of the methods are called 'ce'"),
    "a label without a method": ({"methods": "{A: {}}"}, ":1: 'A' must be a method's name"),
    "a label with a list": ({"methods": "{A: [ce]}"}, ":1: 'A' must be a method's name"),
    "a label with a number": ({"methods": "{A: {gta: 5}}"}, ":1: 'A' must be a method's name"),
    "a policy that is left out": ({"methods": "{A: gta+}"}, ":1: 'gta+' must be a method's name"),
    "a plus alone": ({"methods": "{A: +}"}, ":1: '+' must be a method's name"),
    "a policy twice": ({"methods": "{A: ce+transmix+transmix}"}, "stands there twice"),
    "a method as a policy": ({"methods": "{A: {ce: {}, gta: {}}}"}, "gta cannot act on another method; policies can"),
    "a weight that is empty": ({"methods": "{A: {gta: {weight: []}}}"}, ":1: 'A': the list of weight is empty"),
    "a weight that is null": ({"methods": "{A: {gta: {weight: null}}}"}, "weight = None is not allowed"),
    "a weight that is a mapping": ({"methods": "{A: {gta: {weight: {a: 1}}}}"}, "weight = {'a': 1} is not allowed"),
    "a weight of lists": ({"methods": "{A: {gta: {weight: [[1]]}}}"}, "weight = [1] is not allowed"),
    "a weight in hexadecimal": ({"methods": "{A: {gta: {weight: 0x10}}}"}, "weight = '0x10' is not allowed"),
    "a weight too large": ({"methods": "{A: {gta: {weight: 1e999}}}"}, "weight = inf is not allowed"),
    "more rows than anyone reads": (
        {"methods": f"{{A: {{gta: {{weight: [{', '.join(map(str, range(1001)))}]}}}}}}"},
        ":1: 'A': its lists span 1,001 candidates; at most 1,000 are allowed",
    ),
    "a thousand million rows": (
        {"methods": "{A: {drloc: {" + ", ".join(f"h{n}: [{'1, ' * 100}1]" for n in range(5)) + "}}}"},
        "its lists span 10,510,100,501 candidates",
    ),
    "no backbones": ({"backbones": "[]"}, ":2: 'backbones' must list at least one; or give --backbones"),
    "a backbone that is a number": ({"backbones": "[5]"}, ":2: no backbone is called '5'"),
    "a backbone that is a mapping": ({"backbones": "[{a: 1}]"}, ":2: no backbone is called"),
    "a backbone with NUL": ({"backbones": r'["micro_vit@a\0b"]'}, "U+0000"),
    "a backbone with a long path": ({"backbones": f"[micro_vit@{LONG}.safetensors]"}, "a path cannot be so long"),
    "a backbone of nobody": (
        {"backbones": "[micro_vit@~nobody-here/x.safetensors]"},
        (":2: ", "there is no such user"),
    ),
    "no datasets": ({"datasets": "[]"}, ":3: 'datasets' must list at least one; or give --datasets"),
    "a dataset that is null": ({"datasets": "[null]"}, ":3: no dataset is called 'None'"),
    "a dataset that is not here": ({"datasets": "[voc2012]"}, "voc2012: there is no folder"),
    "a metric of another task": ({"table": "{metric: miou}"}, "miou is of segmentation, and the datasets are for"),
    "a dataset with NUL": ({"datasets": r'["folder:a\0b"]'}, "U+0000"),
    "a dataset with a long path": ({"datasets": f"['folder:{LONG}']"}, "a path cannot be so long"),
    "a dataset of nobody": ({"datasets": "['folder:~nobody-here/x']"}, (":3: ", "there is no such user")),
    "a dataset that is a loop": ({"datasets": "['folder:loop']"}, "there is no such folder"),
    "rates that are null": (
        {"rates": "null"},
        ":4: 'rates' must be a list or a whole number or a number or a text, ",
    ),
    "rates that are a mapping": ({"rates": "{a: 1}"}, ":4: 'rates' must be a list"),
    "a rate that is a word": ({"rates": "[few]"}, ":4: the rate few is not allowed"),
    "a rate that is a list": ({"rates": "[[15]]"}, ":4: the rate [15] is not allowed"),
    "a rate without end": ({"rates": "[.inf]"}, ":4: the rate inf is not allowed"),
    "a rate of nan": ({"rates": "[.nan]"}, ":4: the rate nan is not allowed"),
    "a rate of minus nothing": ({"rates": "[-0.0]"}, ":4: the rate -0.0 is not allowed"),
    "a rate a little above all": ({"rates": "[100.0000001]"}, ":4: the rate 100.0000001 is not allowed"),
    "a rate that is true": ({"rates": "[yes]"}, ":4: the rate yes is not allowed"),
    "shares in the place of rates": (
        {"rates": "[0.15, 0.5, 1]"},
        ":4: rates are in percent, and none is above 1: write 15, 50, 100 if shares are meant, or 0.15%, 0.5%, 1%",
    ),
    "a share of all": ({"rates": "1"}, "write 100 if shares are meant, or 1%"),
    "a rate with a 0 before it": (
        {"rates": "[015]"},
        ":4: the rate 015 is not allowed; it is in percent, above 0 and up",
    ),
    "a name in curly quotes": (
        {"datasets": "[\u201cdigits\u201d]"},
        (":3: ", "U+201C left double quotation mark", "type plain quotes", "did you mean 'digits'?"),
    ),
    "a name with a blank that is none": (
        {"backbones": "[micro_vit\u00a0]"},
        (":2: ", "U+00A0 no-break space: type a plain blank or none"),
    ),
    "a rate in sixties": ({"rates": "[0:30]"}, ":4: the rate 0:30 is not allowed"),
    "a rate with an underscore": ({"rates": "[1_5]"}, ":4: the rate 1_5 is not allowed"),
    "a seed below 0": ({"seeds": "[-1]"}, ":5: seeds are how many (3) or which (0,1,2), not [-1]"),
    "a seed too large": ({"seeds": f"[{2**31}]"}, ":5: seeds are how many"),
    "a seed of thirty digits": ({"seeds": f"[{10**30}]"}, ":5: seeds are how many"),
    "seeds that are true": ({"seeds": "true"}, ":5: 'seeds' must be a list or a whole number, not True"),
    "seeds that are a text": ({"seeds": "'5'"}, ":5: 'seeds' must be a list or a whole number, not '5'"),
    "seeds in octal": ({"seeds": "010"}, ":5: 'seeds' must be a list or a whole number, not '010'"),
    "seeds with a half": ({"seeds": "[1.0]"}, ":5: seeds are how many"),
    "seeds in a list in a list": ({"seeds": "[[0]]"}, ":5: seeds are how many"),
    "no seeds": ({"seeds": "[]"}, ":5: seeds are how many"),
    "ten thousand seeds and one": ({"seeds": "10001"}, "not 10001 (at most 10000)"),
    "thousands of millions of seeds": ({"seeds": "10000000000"}, "not 10000000000 (at most 10000)"),
    "10**30 seeds": ({"seeds": str(10**30)}, "(at most 10000)"),
    "a protocol that is a word": ({"protocol": "fast"}, ":6: no preset is called 'fast' (there are: deit, "),
    "steps that are a mapping": ({"protocol": "{steps: {a: 1}}"}, ":6: protocol: steps = {'a': 1} is not allowed"),
    "steps that are null": ({"protocol": "{steps: null}"}, ":6: protocol: steps = None is not allowed"),
    "steps with a half": ({"protocol": "{steps: 5.5}"}, "steps = 5.5 is not allowed; it must be a whole number"),
    "steps that are true": ({"protocol": "{steps: true}"}, "steps = True is not allowed"),
    "steps in sixties": ({"protocol": "{steps: 1:30}"}, "steps = '1:30' is not allowed"),
    "no steps": ({"protocol": "{}"}, "a protocol gives either steps or epochs (such as steps: 300)"),
    "a learning rate without end": ({"protocol": "{steps: 5, lr: 1e999}"}, "lr = inf is not allowed"),
    "a learning rate of nan": ({"protocol": "{steps: 5, lr: .nan}"}, "lr = nan is not allowed"),
    "batches of nothing": ({"protocol": "{steps: 5, batch_size: 0}"}, "a whole number of at least 1"),
    "a window of the schedule": ({"protocol": "{steps: 5, first: 3}"}, "no protocol setting is called 'first'"),
    "a recipe in the protocol": ({"protocol": "{steps: 5, recipe: {lr: 1}}"}, "no protocol setting is called 'recipe'"),
    "a draw that is misspelt": ({"vary": "{sbset: [seed]}"}, ":7: no draw is called 'sbset'; did you mean 'subset'?"),
    "a draw along nothing known": ({"vary": "{subset: [methd]}"}, ":7: no axis is called 'methd'"),
    "a draw along a word": ({"vary": "{subset: seed}"}, ":7: a list of axes is needed, such as [seed]"),
    "a draw along a list": ({"vary": "{subset: [[seed]]}"}, ":7: no axis is called"),
    "draws that never change": (
        {"vary": "{subset: [], init: [], order: []}"},
        "seeds 0 and 1 are one and the same run; let 'vary' name 'seed'",
    ),
    "an exclusion that is a name": ({"exclude": "[ce]"}, ":7: an exclusion names axes and a reason"),
    "an exclusion without a reason": ({"exclude": "[{method: ce}]"}, ":7: an exclusion names axes and a reason"),
    "an exclusion along nothing": ({"exclude": "[{metod: ce, because: x}]"}, "did you mean 'method'?"),
    "an exclusion of a stranger": ({"exclude": "[{method: gta, because: x}]"}, "no method of this experiment"),
    "everything excluded": ({"exclude": "[{method: ce, because: no time}]"}, "nothing is left to run: no time"),
    "a baseline that is not there": ({"baseline": "gta"}, ":7: no method of this experiment is called 'gta'"),
    "a baseline that is a list": ({"baseline": "[ce]"}, ":7: 'baseline' must be a text, not ['ce']"),
    "a table that is a word": ({"table": "plain"}, ":7: 'table' must be a mapping, not 'plain'"),
    "a table with a misspelt key": ({"table": "{rws: [method]}"}, ":7: no key of a table is called 'rws'"),
    "a level of 1": ({"table": "{alpha: 1.0}"}, ":7: alpha = 1.0 is not allowed; it must be a number between 0 and 1"),
    "a level of 0": ({"table": "{alpha: 0.0}"}, ":7: alpha = 0.0 is not allowed"),
    "a level of nan": ({"table": "{alpha: .nan}"}, ":7: alpha = nan is not allowed"),
    "a margin of 0": ({"table": "{margin: 0}"}, ":7: the margin 0 is not allowed; it is in points, above 0"),
    "a margin of nan": ({"table": "{margin: .nan}"}, ":7: the margin nan is not allowed"),
    "a margin in words": ({"table": "{margin: wide}"}, ":7: 'margin' must be a number, not 'wide'"),
    "a family that is a list": ({"table": "{family: [table]}"}, ":7: 'family' must be a text"),
    "a family that is unknown": ({"table": "{family: row}"}, "no family is called 'row' (there are: column, table)"),
    "a selection that is a mapping": ({"table": "{selection: {a: 1}}"}, ":7: 'selection' must be a text"),
    "rows that are a word": ({"table": "{rows: method}"}, ":7: 'rows' must be a list"),
    "an axis in no place": ({"table": "{rows: [method], columns: [rate]}"}, "must name each of method, backbone"),
}

# ---- whole files: what is in them, and what is said of the experiment in them

FILES: dict[str, tuple[bytes, Said]] = {
    "nul.yaml": (b"title: a\0b\n", "nul.yaml:1: malformed YAML"),
    "utf16.yaml": ("rates: [15]\n".encode("utf-16"), "utf16.yaml: cannot be read: it is UTF-16 text; save it as UTF-8"),
    "latin.yaml": (b"title: \xe9\n", "latin.yaml: cannot be read: it is not UTF-8 text"),
    "binary.yaml": (bytes(range(256)) * 40, "binary.yaml: cannot be read: it is not UTF-8 text"),
    "escape.yaml": (b"title: \x1b[2J\n", "escape.yaml:1: malformed YAML"),
    "deep.yaml": (b"a: " + b"[" * 200_000, "deep.yaml:1: values are nested more than 50 levels deep"),
    "closed.yaml": (b"a: " + b"[" * 60 + b"]" * 60, "closed.yaml:1: values are nested more than 50 levels deep"),
    "mappings.yaml": (b"a: " + b"{a: " * 3000 + b"1" + b"}" * 3000, "mappings.yaml:1: values are nested more than 50"),
    "laughs.yaml": (b"a: &a [lol]\nb: [*a, *a]\n", "laughs.yaml:2: aliases (*a) are not allowed"),
    "circle.yaml": (b"a: &a [*a]\n", "circle.yaml:1: aliases (*a) are not allowed"),
    "merged.yaml": (b"a: &a {b: 1}\nc:\n  <<: *a\n", "merged.yaml:3: aliases (*a) are not allowed"),
    "object.yaml": (b"a: !!python/object/apply:os.system [ls]\n", "object.yaml:1: the tag "),
    "two.yaml": (b"a: 1\n---\nb: 2\n", "two.yaml:2: malformed YAML"),
    "tab.yaml": (b"a:\n\tb: 1\n", "tab.yaml:2: malformed YAML"),
    "open.yaml": (b"a: [1, 2\n", "open.yaml:2: malformed YAML"),
    "quote.yaml": (b"a: 'x\n", "quote.yaml:2: malformed YAML"),
    "list.yaml": (b"- a\n", "list.yaml:1: the file must hold keys and values (name: value), not a list"),
    "word.yaml": (b"demo\n", "word.yaml:1: the file must hold keys and values"),
    "empty.yaml": (b"", "empty.yaml:1: the file must hold keys and values"),
    "digits.yml": (b"9" * 5000, "digits.yml:1: malformed YAML"),
    "large.yaml": (b"#" * 1_000_001, "large.yaml: cannot be read: it has more than 1,000,000 bytes"),
    "json.yaml": (b'{"methods": ["ce"]}', "json.yaml:1: 'backbones' must list at least one"),
}

# ---- plugins: a method's file, and what is said of it

PLUGIN = '''
from dataclasses import dataclass

from bench.method import Method, hyper


@dataclass(frozen=True)
class Mine(Method):
    """A method of one's own."""

    weight: float = hyper(1.0, low=0, source="our choice")
'''


def changed(old: str, new: str) -> str:
    assert old in PLUGIN
    return PLUGIN.replace(old, new)


PLUGINS: dict[str, tuple[str | bytes, Said]] = {
    "raises": ("raise RuntimeError('x')\n", "raises.py:1: no class that derives from Method"),
    "leaves": ("import sys\nsys.exit(0)\n", "leaves.py:1: no class that derives from Method"),
    "prints": ("print('printed')\n", "prints.py:1: no class that derives from Method"),
    "empty": ("", "empty.py:1: no class that derives from Method; a method file declares exactly one"),
    "hidden": ("def f():\n    class M(Method): pass\n", "hidden.py:1: no class that derives from Method"),
    "two": (PLUGIN + PLUGIN.replace("Mine", "Other"), "two.py:1: 2 classes that derive from Method"),
    "slip": ("class Mine(\n", "slip.py:1: not valid Python"),
    "nul": ("x = 1\0\n", "nul.py:1: not valid Python"),
    "latin": (b"# \xe9\n" + PLUGIN.encode(), "latin.py: cannot be read: it is not UTF-8 text"),
    "binary": (bytes(range(256)), "binary.py: cannot be read: it is not UTF-8 text"),
    "deep": ("x = " + "(" * 100_000 + ")" * 100_000 + "\n", "deep.py:1: not valid Python"),
    "minuses": (f"x = {'-' * 20_000}1\n{PLUGIN}", "minuses.py:1: not valid Python"),
    "circle": (
        changed("from bench.method import Method", "from bench.methods.circle import Mine as Base\nfrom x import y")
        .replace("y, hyper", "hyper")
        .replace("(Method)", "(Base)"),
        "it derives from itself, by way of bench.methods.circle",
    ),
    "orphan": (
        changed("from bench.method import Method", "from bench.methods.gone import Mine as Base\nfrom x import y")
        .replace("y, hyper", "hyper")
        .replace("(Method)", "(Base)"),
        "it derives from bench.methods.gone, but no method is called 'gone'",
    ),
    "my-method": (PLUGIN, "'my-method' cannot be a name: letters, digits and _ only, a letter first"),
    "dot.dot": (PLUGIN, "'dot.dot' cannot be a name"),
    "1st": (PLUGIN, "'1st' cannot be a name"),
    "naïve": (PLUGIN, "'naïve' cannot be a name"),
    "gta": (PLUGIN, ("two methods are called 'gta'", "rename one")),
    "computed": (changed("hyper(1.0,", "hyper(open('harm', 'w'),"), "computed.py:11: weight must be a literal"),
    "unhashable": (changed("hyper(1.0,", "hyper({[]: 1},"), "unhashable.py:11: weight must be a literal"),
    "argument": (changed("low=0", "lwo=0"), "argument.py:11: weight: no argument of hyper is called 'lwo'"),
    "splat": (changed("low=0", "**{'low': 0}"), "splat.py:11: weight: no argument of hyper is called"),
    "low": (changed("low=0", "low='a'"), "low.py:11: weight: low = 'a' has the wrong type"),
    "truth": (changed("low=0", "low=True"), "truth.py:11: weight: low = True has the wrong type"),
    "choices": (changed("low=0", "choices=(1.0, [])"), "choices.py:11: weight: choices = (1.0, []) has the wrong type"),
    "default": (changed("hyper(1.0", "hyper(-1.0"), "weight = -1.0 is not allowed; it must be a number of at least 0"),
    "infinite": (changed("hyper(1.0", "hyper(1e999"), "weight = inf is not allowed"),
    "whole": (changed("weight: float = hyper(1.0", "weight: int = hyper(1.5"), "it must be a whole number"),
    "sourceless": (changed('"our choice"', '""'), "sourceless.py:11: weight needs a source"),
    "typed": (changed(": float", ": list"), "typed.py:11: weight has type list; a hyper-parameter is one of float"),
    "plain": (changed('hyper(1.0, low=0, source="our choice")', "1.0"), "must be declared as weight: float = hyper("),
    "needs": (PLUGIN + "    needs = 5\n", "needs.py:12: needs must be a set of texts"),
    "mixed": (PLUGIN + "    needs = {'a', 5}\n", "mixed.py:12: needs must be a set of texts"),
    "paper": (PLUGIN + "    paper = 5\n", "paper.py:12: paper must be a text"),
}

# ---- cards of datasets and backbones: what differs from a sound one, and what is said of it

DATASET = """title: D
reader: cub
task: classification
classes: 10
official: {train: 10, test: 10}
use: {train: [train], test: [test]}
expects: [a]
licence: x
download: [{url: 'https://localhost/a.tar', gives: [a]}]
"""
BACKBONE = "title: B\nmodel: vision_transformer\nweights: timm\n"

DATASETS: dict[str, tuple[str, str, Said]] = {
    "untitled": ("title: D\n", "", "'title' is missing or is not a text"),
    "readerless": ("reader: cub", "reader: 5", ":2: 'reader' is missing or is not a text"),
    "official_list": ("{train: 10, test: 10}", "[a]", ":5: 'official' must give the size of each official list"),
    "official_text": ("{train: 10", "{train: many", ":5: 'official' must give the size of each official list"),
    "official_none": ("{train: 10", "{train: 0", ":5: 'official' must give the size of each official list"),
    "use_word": ("use: {train: [train], test: [test]}", "use: x", ":6: 'use' must say of which lists"),
    "use_twice": ("test: [test]}\nexp", "test: [train]}\nexp", ":6: a list is in two splits; no image may be"),
    "classes_below": ("classes: 10", "classes: -1", ":4: 'classes' must be their number, at least 1, not -1"),
    "classes_word": ("classes: 10", "classes: ten", ":4: 'classes' must be their number"),
    "expects_number": ("expects: [a]", "expects: 5", ":7: 'expects' must be a list of names inside of the dataset's"),
    "expects_up": ("expects: [a]", "expects: [../../etc]", ":7: 'expects' must be a list of names inside"),
    "folder_up": ("licence: x", "licence: x\nfolder: ../../etc", "'folder' must be the name of a folder inside"),
    "folder_root": ("licence: x", "licence: x\nfolder: /etc", "'folder' must be the name of a folder inside"),
    "options_number": ("licence: x", "licence: x\noptions: 5", "'options' must be a mapping, not 5"),
    "variants_list": ("licence: x", "licence: x\nvariants: [a]", "'variants' must be a mapping, not ['a']"),
    "variants_number": ("licence: x", "licence: x\nvariants: {a: 5}", "the variant 'a' must be a mapping"),
    "checksums_number": ("licence: x", "licence: x\nchecksums: 5", "'checksums' must be names inside"),
    "checksums_kind": ("licence: x", "licence: x\nchecksums: {a: crc:1}", "'checksums' must be names inside"),
    "steps_number": ("licence: x", "licence: x\nsteps: 5", "'steps' must be a list of texts, not 5"),
    "size_number": ("licence: x", "licence: x\nsize: 5", "'size' must be a text, such as 1.1 GB, not 5"),
    "download_number": ("[{url: 'https://localhost/a.tar', gives: [a]}]", "5", ":9: 'download' must be a list, not 5"),
    "download_word": ("[{url: 'https://localhost/a.tar', gives: [a]}]", "[x]", ":9: a download has a url"),
    "download_file": ("https://localhost/a.tar", "file:///etc/passwd", ":9: a download has a url that begins with"),
    "download_nothing": ("https://localhost/a.tar", "https://localhost/", "ends in no name of a file"),
    "download_dots": ("https://localhost/a.tar", "https://localhost/..", "ends in no name of a file"),
    "into_up": ("gives: [a]", "into: ../../..", ":9: 'into' must be the name of a folder inside"),
    "file_root": ("gives: [a]", "file: /etc/passwd", ":9: 'file' must be the name of a file inside"),
    "inner_up": ("gives: [a]", "gives: [a], inner: [../a.tar]", ":9: 'inner' must be a list of names inside"),
    "rename_up": ("gives: [a]", "gives: [a], rename: {a: ../../b}", ":9: 'rename' must be names of things"),
    "licenceless": ("licence: x\n", "", "'licence' is missing or is not a text"),
    "not_yaml": (DATASET, "- a\n", ":1: the file must hold keys and values"),
}
BACKBONES: dict[str, tuple[str, str, Said]] = {
    "nameless": ("title: B\n", "", "'title' is missing or is not a text"),
    "numbered": ("model: vision_transformer", "model: 5", ":2: 'model' is missing or is not a text"),
    "arguments": ("weights: timm", "weights: timm\narguments: 5", ":1: 'arguments' must be a mapping"),
    "offers": ("weights: timm", "weights: timm\noffers: 5", ":1: 'arguments' must be a mapping and 'offers' a list"),
    "offered": ("weights: timm", "weights: timm\noffers: [[a]]", "'offers' a list of texts"),
    "weighted": ("weights: timm", "weights: https://localhost/x", ":3: weights is 'timm' (fetched by timm)"),
    "unsigned": ("weights: timm\n", "", "'sha256' is missing or is not a text"),
    "not_yaml_either": (BACKBONE, "", ":1: the file must hold keys and values"),
}

# ---- published tables, protocols and claims

TABLE = """title: t
paper: p
kind: results
metric: top1
rank: {within: [Dataset]}
runs:
  axes: {backbone: micro_vit, rate: 15}
  baseline: Plain
  labels:
    Digits: {dataset: digits}
    Plain: {method: ce}
    Guided: {method: {gta: {weight: [0.1, 1]}}}
stub: [Dataset, Method]
columns: [["15 %"]]
rows:
  - {label: [Digits, Plain], cells: ["50.0"]}
  - {label: [Digits, Guided], cells: ["60.0 ± 1.0"]}
"""
PROTOCOL = """settings: {steps: {value: 5, source: s}}
seeds: {value: 2, source: s}
selection: {value: last, source: s}
sweep: {value: best-val, source: s}
"""
CLAIMS = "claims: [{claim: c, section: '1', table: table1, better: {row: Guided, than: Plain}}]\n"
BETTER = "better: {row: Guided, than: Plain}"

TABLES: dict[str, tuple[str, str, Said]] = {
    "an unknown key": ("paper: p", "papr: p", ":2: no key is called 'papr'; did you mean 'paper'?"),
    "no title": ("title: t\n", "", "'title' is missing or is not a text"),
    "a kind": ("kind: results", "kind: numbers", ":3: no kind is called 'numbers' (there are: hyper-parameters,"),
    "a rank": ("{within: [Dataset]}", "5", ":5: 'rank' must be a mapping, not 5"),
    "a level": ("{within: [Dataset]}", "{within: [Set]}", ":5: no level of the stub is called 'Set'"),
    "an order": ("{within: [Dataset]}", "{order: [up]}", ":5: order is one of higher, lower"),
    "runs": ("runs:\n", "runs: 5\nx:\n", ("'runs' must be a mapping, not 5", "no key is called 'x'")),
    "an audit": ("rank:", "audit: 5\nrank:", "'audit' must be a mapping, not 5"),
    "axes": ("axes: {backbone: micro_vit, rate: 15}", "axes: 5", ":7: 'axes' must be a mapping"),
    "an axis": ("rate: 15}", "rte: 15}", ":7: no axis is called 'rte'; did you mean 'rate'?"),
    "an axis left out": (", rate: 15", "", "the cell Digits / Plain / 15 % has no rate; give labels or axes"),
    "a rate that is a word": ("rate: 15", "rate: few", "the rate few is not allowed; it is in percent"),
    "a rate that is a list": ("rate: 15", "rate: [15]", ":7: 'rate' must be a text or a whole number or a number"),
    "a rate below 0": ("rate: 15", "rate: -5", "the rate -5 is not allowed"),
    "a rate of nan": ("rate: 15", "rate: .nan", "the rate nan is not allowed"),
    "a baseline": ("baseline: Plain", "baseline: Plan", ":8: no row is called 'Plan'; did you mean 'Plain'?"),
    "a baseline that is a number": ("baseline: Plain", "baseline: 5", ":8: 'baseline' must be a text or a list"),
    "a baseline that is a mapping": ("baseline: Plain", "baseline: [{a: 1}]", ":8: no row is called"),
    "a label": ("    Digits:", "    Digit:", ":10: no label of this table is called 'Digit'"),
    "a label without a meaning": ("{dataset: digits}", "5", ":10: a label is assigned a mapping"),
    "a dataset": ("{dataset: digits}", "{dataset: digit}", "no dataset is called 'digit'; did you mean 'digits'?"),
    "a method": ("{method: ce}", "{method: cee}", "no method is called 'cee'"),
    "a method that is a list": ("{method: ce}", "{method: [ce]}", ":11: 'method' must be a text or a mapping"),
    "a backbone": ("micro_vit", "micro_vt", "no backbone is called 'micro_vt'; did you mean 'micro_vit'?"),
    "a hyper-parameter": ("weight: [0.1, 1]", "wight: 1", "no hyper-parameter is called 'wight'"),
    "a sweep too wide": ("[0.1, 1]", f"[{', '.join(map(str, range(1, 2000)))}]", "its lists span 1,999 candidates"),
    "a setting": ("baseline:", "settings: {stps: 5}\n  baseline:", "no protocol setting is called 'stps'"),
    "no seeds": ("baseline:", "seeds: 0\n  baseline:", "seeds are how many (3) or which (0,1,2), not 0"),
    "ten thousand million seeds": ("baseline:", "seeds: 10000000000\n  baseline:", "(at most 10000)"),
    "a stub": ("[Dataset, Method]", "Dataset", ":13: stub must be a list of texts"),
    "no columns": ('[["15 %"]]', "[]", "'columns' must be a list that is not empty"),
    "a row": ("{label: [Digits, Plain], ", "{labels: [Digits, Plain], ", "row 1: a row has a label and cells"),
    "a label too few": ("[Digits, Plain]", "[Plain]", "1 labels for the 2 levels of the stub"),
    "a cell too many": ('["50.0"]', '["50.0", "51.0"]', "2 cells for 1 columns"),
    "a cell without quotes": ('["50.0"]', "[50.0]", "write numbers in quotes, so that they stay as printed"),
    "a row twice": ("[Digits, Guided]", "[Digits, Plain]", "two rows are called 'Digits / Plain'"),
}
PROTOCOLS: dict[str, tuple[str, str, Said]] = {
    "nothing in it": (PROTOCOL, "", "protocol.yaml:1: the file must hold keys and values"),
    "an unknown key": ("sweep:", "swep:", "no key of a protocol is called 'swep'; did you mean 'sweep'?"),
    "settings": ("{steps: {value: 5, source: s}}", "5", "protocol.yaml:1: 'settings' must be a mapping"),
    "a setting": ("steps", "stps", "no protocol setting is called 'stps'"),
    "a value": ("value: 5", "value: -5", "steps = -5 is not allowed"),
    "a source": ("{value: 2, source: s}", "2", ":2: 'seeds' must be {value: ..., source: 'paper ...'}"),
    "no seeds": ("value: 2", "value: 0", ":2: seeds is how many, at least 1; it is 0"),
    "too many seeds": ("value: 2", "value: 10000000000", ":2: seeds is how many, at least 1 and at most 10,000"),
    "a selection": ("value: last", "value: first", ":3: no selection is called 'first'"),
    "a sweep": ("best-val", "last", ":4: no sweep is called 'last'"),
}
CLAIMED: dict[str, tuple[str, str, Said]] = {
    "nothing in it": (CLAIMS, "", "claims.yaml:1: the file must hold keys and values"),
    "a number": (CLAIMS, "claims: 5\n", "the file has one key, 'claims', with a list that is not empty"),
    "a claim": (CLAIMS, "claims: [5]\n", "claims.yaml:1: a claim is a mapping, not 5"),
    "a table": ("table: table1", "table: table9", "no table of p is called 'table9'; did you mean 'table1'?"),
    "a table of a path": ("table: table1", "table: ../../x", "no table of p is called '../../x'"),
    "a row": ("than: Plain", "than: Plan", "no row of this table is called 'Plan'; did you mean 'Plain'?"),
    "a kind": ("better:", "btter:", "no key of a claim is called 'btter'; did you mean 'better'?"),
    "a mapping": (BETTER, "better: 5", "better is a mapping, not 5"),
    "nothing to deny": (BETTER, "not: 5", "not is a mapping, not 5"),
    "no parts": (BETTER, "all: 5", "each part is a mapping with one key of"),
    "a take": (BETTER, "number: {row: Plain, take: [mean], is: 1}", "no take is called"),
    "a number of no digits": (BETTER, "number: {row: Plain, take: mean, is: 1e999}", "a number as printed is wanted"),
    "an order": (BETTER, "monotone: {row: Plain, order: up, columns: ['15 %']}", "order is rising or falling"),
}

# ---- results of somebody else

HEAD = "method,dataset,seed,value\n"
LINES = f"{HEAD}ce,X,0,1\ngta,X,0,2\n"

RESULTS: dict[str, tuple[bytes, Said]] = {
    "empty": (b"", "empty.csv:1: the file is empty; it needs a header, such as method,dataset,seed,value"),
    "binary": (bytes(range(256)), "binary.csv:2: it is not UTF-8 (byte 0x80); save it as UTF-8"),
    "latin": (LINES.encode() + b"\xe9,X,0,1\n", "latin.csv:4: it is not UTF-8 (byte 0xe9)"),
    "wide": (LINES.encode() + b"a,b,c,d,e\n", "wide.csv:4: 5 fields for the 4 columns"),
    "overflow": (LINES.encode() + b"a,X,0,1e999\n", "overflow.csv:4: value must be a finite number"),
    "below": (LINES.encode() + b"a,X,0,-0.1\n", "below.csv:4: top-1 (%) is 0 to 100; value is -0.1"),
    "twice": (b"method,method,dataset,seed,value\na,a,b,0,1\n", "twice.csv:1: a column stands there twice: method"),
    "escape": (b"meth\x1b[2Jod,dataset,seed,value\na,b,0,1\n", r"no column is called method or model"),
    "field": (LINES.encode() + b'a,"' + b"x" * 200_000, "field.csv:4: it is not CSV: "),
}

# ---- names and options

PLAN = ("plan", "demo")
IMPORT = ("import", "sound.csv")

OPTIONS: dict[str, tuple[tuple[str, ...], Said]] = {
    "no command": ((), "COMMAND"),
    "an unknown command": (("trian", "demo"), "trian"),
    "an argument too many": (("power", "demo", "digits"), "digits"),
    "a second target that is none": ((*PLAN, "digit"), "no experiment, paper or table is called 'digit'"),
    "an option without a value": ((*PLAN, "--plugin"), "--plugin"),
    "an unknown option": ((*PLAN, "--stepps", "5"), "--stepps"),
    "an empty target": (("plan", ""), "no experiment, paper or table is called ''"),
    "a blank target": (("plan", " "), "no experiment, paper or table is called ' '"),
    "a target with a blank": (("plan", "demo "), "did you mean 'demo'?"),
    "a target in capitals": (("plan", "DEMO"), "is called 'DEMO'; did you mean 'demo'?"),
    "a folder above": (("plan", ".."), "no experiment, paper or table is called '..'"),
    "a web page": (("plan", "http://localhost/x.yaml"), "cannot be read: "),
    "a table that is not there": (("table", "gta/table99"), "did you mean 'gta/table"),
    "a protocol for a table": (("table", "gta/protocol"), "no experiment, paper or table is called 'gta/protocol'"),
    "a table by a detour": (("table", "gta/../gta/table2"), "no experiment, paper or table is called"),
    "a paper with a slash": (("plan", "gta/"), "no experiment, paper or table is called 'gta/'"),
    "a target that is far too long": (("plan", LONG), "no experiment, paper or table is called 'xxx"),
    "a file that is far too long": (("plan", f"{LONG}.yaml"), "a path cannot be so long"),
    "a file of nobody": (("plan", "~nobody-here/x.yaml"), "~nobody-here/x.yaml: there is no such user"),
    "a target that clears the screen": (("plan", "\x1b[2Jdemo"), r"is called '\x1b[2Jdemo'"),
    "a target written backwards": (("plan", "\u202edemo"), r"is called '\u202edemo'"),
    "a target of two lines": (("plan", "demo\nbench: done"), "is called 'demo; bench: done'"),
    "a target that is not UTF-8": (("plan", "demo\udcff"), r"'demo\udcff' is not UTF-8 text"),
    "a title that is not UTF-8": ((*IMPORT, "--title", "\udcff"), "is not UTF-8 text"),
    "results that are not UTF-8": ((*PLAN, "--results", "\udcff"), "is not UTF-8 text"),
    "a missing file": (("table", "none.yaml"), "none.yaml: cannot be read: "),
    "a folder": (("table", "folder.yaml"), "folder.yaml: cannot be read: "),
    "a loop": (("status", "loop.yaml"), "loop.yaml: cannot be read: "),
    "a pipe": (("figure", "pipe.yaml"), "pipe.yaml: cannot be read: it is no ordinary file"),
    "a file that no one may read": (("power", "memory.yaml"), "memory.yaml: cannot be read"),
    "a file without end": (("plan", "zeros.yaml"), "zeros.yaml: cannot be read: it is no ordinary file"),
    "methods without end": ((*PLAN, "--methods", "gta(" * 2000), "is not of the form name or name("),
    "a method of nothing": ((*PLAN, "--methods", "()"), "--methods: '()' is not of the form"),
    "plus alone": ((*PLAN, "--methods", "+"), "--methods: '+' must be a method's name"),
    "plus behind": ((*PLAN, "--methods", "ce+"), "--methods: 'ce+' must be a method's name"),
    "plus before": ((*PLAN, "--methods", "+ce"), "--methods: '+ce' must be a method's name"),
    "text behind a method": ((*PLAN, "--methods", "gta(weight=1)x"), "is not of the form"),
    "a list of weights": ((*PLAN, "--methods", "gta(weight=[1,2])"), "--methods"),
    "a tag for a weight": ((*PLAN, "--methods", "gta(weight=!!python/name:os.system)"), "is not allowed"),
    "a weight of two signs": ((*PLAN, "--methods", "gta(weight==1)"), "weight = '=1' is not allowed"),
    "a weight 1e999": ((*PLAN, "--methods", "gta(weight=1e999)"), "weight = inf is not allowed"),
    "a method that clears the screen": ((*PLAN, "--methods", "\x1b[2Jce"), r"no method is called '\x1b[2Jce'"),
    "no backbones": ((*PLAN, "--backbones", " , "), "--backbones: ' , ' lists nothing"),
    "no weights": ((*PLAN, "--backbones", "micro_vit@"), "after @ stands 'none' (random weights) or an existing"),
    "two weights": ((*PLAN, "--backbones", "micro_vit@none@none"), "after @ stands 'none'"),
    "weights above": ((*PLAN, "--backbones", "timm:resnet18@../x"), "after @ stands 'none'"),
    "weights that are a folder": ((*PLAN, "--backbones", "micro_vit@folder.safetensors"), "after @ stands 'none'"),
    "weights that are a loop": ((*PLAN, "--backbones", "micro_vit@loop.safetensors"), "after @ stands 'none'"),
    "no timm model": ((*PLAN, "--backbones", "timm:"), "a timm model's name holds letters"),
    "a timm model without a name": ((*PLAN, "--backbones", "timm:@none"), "a timm model's name holds letters"),
    "two settings in one": ((*PLAN, "--set", "steps=50,lr=1e-3"), "--set steps=50 --set lr=1e-3"),
    "a timm model that is too long": ((*PLAN, "--backbones", f"timm:{LONG}"), "at most 200 of them"),
    "weights to be given": (
        ("run", "demo", "--backbones", "ibot_vit_small"),
        "'bench convert ibot_vit_small CHECKPOINT'",
    ),
    "nothing chosen": ((*PLAN, "--datasets", "digits@"), "digits: after @ stands what is chosen of it"),
    "a variant of nothing": ((*PLAN, "--datasets", "digits@x"), "digits: no variant is called 'x'"),
    "a list for no files": ((*PLAN, "--datasets", "digits@sound.csv"), "its images are not files, so no list can name"),
    "a list that is a folder": ((*PLAN, "--datasets", "cub200@folder.csv"), "no variant is called 'folder.csv'"),
    "a list that is binary": ((*PLAN, "--datasets", "cub200@binary.csv"), "the list cannot be read: it is not UTF-8"),
    "a list with NUL": ((*PLAN, "--datasets", "cub200@nul.yaml"), r"has a line that is no path: title: a\x00b"),
    "a list that is empty": ((*PLAN, "--datasets", "cub200@empty.csv"), "the list is empty; it names training images"),
    "a list that is too long": ((*PLAN, "--datasets", f"cub200@{LONG}"), "a path cannot be so long"),
    "nothing behind a variant": ((*PLAN, "--datasets", "oxford_flowers102@train@"), "after @ stands what is chosen"),
    "no folder": ((*PLAN, "--datasets", "folder:"), "'' is no path; give a file or a folder"),
    "a folder that is a file": ((*PLAN, "--datasets", "folder:byte.pth"), "there is no such folder"),
    "a table that is memory": ((*PLAN, "--datasets", "folder:memory.csv"), "memory.csv: it cannot be read: "),
    "a folder in a loop": ((*PLAN, "--datasets", "folder:loop"), "there is no such folder"),
    "a choice that is none": ((*PLAN, "--datasets", "folder:images@splt=20"), "'splt=20' cannot stand behind the @"),
    "a table of no labels": ((*PLAN, "--datasets", "folder:sound.csv"), "sound.csv:1: the header 'method,dataset"),
    "a folder of broken links": ((*PLAN, "--datasets", "folder:broken"), "is no image file that can be read"),
    "a folder of pipes": ((*PLAN, "--datasets", "folder:pipes"), "is no image file that can be read"),
    "a class that is not trained": ((*PLAN, "--datasets", "folder:strange"), "has classes that 'train' lacks: ['b']"),
    "a rate 1e999": ((*PLAN, "--rates", "1e999"), "--rates: the rate inf is not allowed"),
    "a rate in hexadecimal": ((*PLAN, "--rates", "0x10"), "--rates: the rate 0x10 is not allowed"),
    "a rate with another sign": ((*PLAN, "--rates", "15$"), "--rates: the rate 15$ is not allowed"),
    "shares for rates": (
        (*PLAN, "--rates", "0.15,1"),
        "--rates: rates are in percent, and none is above 1: write 15, 100",
    ),
    "a size between patches": (
        (*PLAN, "--set", "image_size=13"),
        "micro_vit: image_size = 13 is no multiple of its patches, of 2 pixels: the last row and column would not be",
    ),
    "a batch of one for a contrast": (
        (*PLAN, "--methods", "ce,scl", "--set", "batch_size=1"),
        "scl: its loss is over the images of a batch, and batch_size = 1 leaves it none to compare",
    ),
    "a checkpoint for weights": (
        (*PLAN, "--backbones", "micro_vit@byte.pth"),
        "'bench convert micro_vit byte.pth OUT.safetensors' makes one of a checkpoint",
    ),
    "a rate in other digits": ((*PLAN, "--rates", "١٥"), "--rates: the rate ١٥ is not allowed"),
    "a rate too small for a number": ((*PLAN, "--rates", "1e-400"), "--rates: the rate 0.0 is not allowed"),
    "rates with semicolons": ((*PLAN, "--rates", "15;30"), "--rates: the rate 15;30 is not allowed"),
    "seeds 1e3": ((*PLAN, "--seeds", "1e3"), "--seeds: seeds are how many"),
    "seeds 010": ((*PLAN, "--seeds", "010"), "--seeds: seeds are how many"),
    "seeds 1_000": ((*PLAN, "--seeds", "1_000"), "--seeds: seeds are how many"),
    "seeds -0": ((*PLAN, "--seeds=-0"), "--seeds: seeds are how many"),
    "seeds nan": ((*PLAN, "--seeds", "nan"), "--seeds: seeds are how many"),
    "seeds of thirty digits": ((*PLAN, "--seeds", f"0,{10**30}"), "--seeds: seeds are how many"),
    "seeds of five thousand digits": ((*PLAN, "--seeds", "9" * 5000), "--seeds: seeds are how many"),
    "no setting": ((*PLAN, "--set", ""), "--set: '' is not of the form key=value"),
    "a setting 1e999": ((*PLAN, "--set", "steps=1e999"), "steps = inf is not allowed"),
    "a setting -1e-9": ((*PLAN, "--set", "lr=-1e-9"), "lr = -1e-09 is not allowed"),
    "a share above its end": ((*PLAN, "--set", "momentum=1.0000001"), "it must be a number from 0 to 1"),
    "a share held out too large": ((*PLAN, "--set", "validation=0.95"), "it must be a number from 0 to 0.9"),
    "a choice in capitals": ((*PLAN, "--set", "optimizer=ADAMW"), "one of adamw, sgd"),
    "a number for a truth": ((*PLAN, "--set", "nesterov=1"), "nesterov = 1 is not allowed; it must be true or false"),
    "batches of batch norms that do not fill the batch": (
        (*PLAN, "--set", "batch_size=200", "--set", "norm_batch=128"),
        "norm_batch must divide batch_size: 200 images are 1 batch of 128 for batch norms, and 72 are left; or take 0",
    ),
    "a warm-up of everything": ((*PLAN, "--set", "warmup=300"), "(300 steps) must be shorter than the schedule"),
    "a setting nobody knows": ((*PLAN, "--set", "token=abc"), "no protocol setting is called 'token'"),
    "a setting that is too long": ((*PLAN, "--set", f"{LONG}=1"), "no protocol setting is called 'xxx"),
    "a setting with a tag": ((*PLAN, "--set", "steps=!!python/object/apply:os.getcwd []"), "is not allowed"),
    "steps and epochs": ((*PLAN, "--set", "epochs=1", "--set", "steps=1"), "either steps or epochs"),
    "several at once": (
        (*PLAN, "--rates", "0", "--seeds", "x", "--set", "lr=x", "--methods", "cee"),
        ("--rates: ", "--seeds: ", "--set: ", "--methods: "),
    ),
    "a selection in capitals": ((*PLAN, "--selection", "LAST"), "--selection: no selection is called 'LAST'"),
    "rules beside each other": (("table", "demo", "--selection", "last,first"), "no selection is called 'first'"),
    "a split of two": ((*PLAN, "--split", "test,val"), "--split: no split is called 'test,val'"),
    "a plugin of nobody": ((*PLAN, "--plugin", "~nobody-here/x.py"), "--plugin: ~nobody-here/x.py: there is no such"),
    "a plugin that is too long": ((*PLAN, "--plugin", LONG), "a path cannot be so long"),
    "a plugin that is empty": ((*PLAN, "--plugin", ""), "--plugin: '' is no path"),
    "a plugin that is a loop": ((*PLAN, "--plugin", "loop.py"), "there is no such folder or .py file"),
    "a plugin with nothing in it": ((*PLAN, "--plugin", "strange"), "has none of the folders methods, backbones"),
    "a plugin that no one may read": (("list", "methods", "--plugin", "memory.py"), "--plugin "),
    "results too long": ((*PLAN, "--results", LONG), "a path cannot be so long"),
    "results that are a loop": ((*PLAN, "--results", "loop"), "loop/runs: "),
    "a paper's rate that is not there": (("plan", "gta", "--rates", "16"), "--rates: no rate of gta is called '16'"),
    "a paper's seeds": (
        ("plan", "gta", "--seeds", "1000000000"),
        "seeds are how many (3) or which (0,1,2), not 1000000000 (at most 10000)",
    ),
    "a paper's seeds of thirty digits": (("plan", "gta", "--seeds", str(10**30)), "seeds are how many"),
    "a paper's seeds nan": (("plan", "gta", "--seeds", "nan"), "seeds are how many"),
    "a paper's setting": (("table", "gta/table2", "--set", "stps=1"), "no protocol setting is called 'stps'"),
    "a paper in one object": (("table", "gta", "--format", "json"), "shows one table at a time: gta/TABLE"),
    "a source for an experiment": (("table", "demo", "--source", "ours"), "--source ours is for the tables of papers"),
    "a source nobody has": (("table", "gta/table2", "--source", "theirs"), "--source"),
    "a table of 19 columns": (("table", "demo", "--width", "19"), "--width 19: a table needs at least 20 columns"),
    "a table of 1e3 columns": (("table", "demo", "--width", "1e3"), "--width"),
    "jobs of a half": (("run", "demo", "--jobs", "1.5"), "--jobs"),
    "jobs of nothing": (("run", "demo", "--jobs", ""), "--jobs"),
    "no jobs": (("run", "gta", "--jobs", "0"), "--jobs 0: at least one"),
    "power of all": (("power", "demo", "--power", "1"), "--power 1.0: a share of the gaps, between 0 and 1"),
    "power of nothing": (("power", "demo", "--power", "-0.0"), "--power"),
    "power of nan": (("power", "demo", "--power", "nan"), "--power nan: a share of the gaps"),
    "one seed for a test": (("power", "demo", "--most", "1"), "--most 1: a test needs at least 2 seeds"),
    "seeds without end": (("power", "demo", "--most", str(10**30)), "an experiment has at most 10,000 seeds"),
    "a figure of no format": (("figure", "demo", "--output", "x.jpg"), "a figure is a .png, .pdf or .svg file"),
    "a figure without a name": (("figure", "demo", "--output", ""), "a figure is a .png, .pdf or .svg file"),
    "a figure of nothing": (("figure", "demo", "--output", "x.png"), "nothing to draw"),
    "a figure of nothing of a paper": (
        ("figure", "gta/table2"),
        "nothing to draw: results has no finished run of it",
    ),
    "a figure of several tables": (("figure", "gta"), "one table at a time: gta/appendix_a, gta/table2"),
    "no kind": (("list",), "KIND"),
    "an empty kind": (("list", ""), "KIND"),
    "a kind in capitals": (("list", "Methods"), "KIND"),
    "nothing to show": (("show", ""), "is called ''"),
    "a run that is not there": (("show", "abcd"), "no record of a run whose id begins with 'abcd'"),
    "a run in capitals": (("show", "ABCD"), "is called 'ABCD'"),
    "a run of 13 digits": (("show", "0123456789abc"), "is called '0123456789abc'"),
    "a card that clears the screen": (("show", "\x1b]0;x\x07"), r"is called '\x1b]0;x\x07'"),
    "an experiment with weights": (("show", "demo@x"), "is called 'demo@x'"),
    "no shell": (("completion", ""), "SHELL"),
    "a method nobody has": (("check-method", "cee"), "no method is called 'cee'; did you mean 'ce'?"),
    "a method's file that is not there": (("check-method", "none.py"), "there is no such folder or .py file"),
    "a method's file with a slip": (("check-method", "plugins/slip.py"), "slip.py:1: not valid Python"),
    "a method's file of two": (("check-method", "plugins/two.py"), "2 classes that derive from Method"),
    "a method's file of nobody": (("check-method", "~nobody-here/x.py"), "there is no such user"),
    "a backbone nobody has": (("convert", "ibot", "x.pth"), "no backbone is called 'ibot'"),
    "a checkpoint that is not there": (("convert", "ibot_vit_small", "x.pth"), "x.pth: there is no such file; 'bench"),
    "a checkpoint that is a folder": (("convert", "ibot_vit_small", "folder.pth"), "folder.pth: there is no such file"),
    "a checkpoint that is a pipe": (("convert", "ibot_vit_small", "pipe.pth"), "pipe.pth: there is no such file"),
    "a checkpoint too long": (("convert", "ibot_vit_small", LONG), "a path cannot be so long"),
    "a checkpoint of nobody": (("convert", "ibot_vit_small", "~nobody-here/x"), "there is no such user"),
    "a dataset nobody has": (("data", "prepare", "../x"), "no dataset is called '../x'"),
    "a dataset's variant": (("data", "prepare", "cub200@x"), "cub200: no variant is called 'x'"),
    "a part of data": (("data", "prpare", "cub200"), "prpare"),
    "an empty dataset": (("data", "check", ""), "no dataset is called ''"),
    "a paper nobody has": (("audit", "../x"), "no paper or table is called '../x'"),
    "a table nobody has": (("audit", "gta/table99"), "no paper or table is called 'gta/table99'"),
    "a paper that clears the screen": (("audit", "\x1b[2J"), r"is called '\x1b[2J'"),
    "claims of a table nobody has": (("claims", "gta/table99"), "no paper or table is called 'gta/table99'"),
    "claims of nobody": (("claims", LONG), "no paper or table is called 'xxx"),
    "results that are not there": (("import", "none.csv"), "none.csv: it cannot be read: "),
    "results that are a folder": (("import", "folder.csv"), "folder.csv: it cannot be read: Is a directory"),
    "results that no one may read": (("import", "memory.csv"), "memory.csv"),
    "a level of 0": ((*IMPORT, "--alpha", "0"), "--alpha 0.0: a level between 0 and 1"),
    "a level of 1": ((*IMPORT, "--alpha", "1"), "--alpha 1.0: a level between 0 and 1"),
    "a level of nan": ((*IMPORT, "--alpha", "nan"), "--alpha nan: a level between 0 and 1"),
    "digits below 0": ((*IMPORT, "--decimals", "-1"), "--decimals -1: 0 to 10 digits"),
    "eleven digits": ((*IMPORT, "--decimals", "11"), "--decimals 11: 0 to 10 digits"),
    "a baseline nobody has": ((*IMPORT, "--baseline", ""), "--baseline: no method is called ''"),
    "a metric nobody has": ((*IMPORT, "--metric", ""), "--metric: no metric is called ''"),
    "tests told in CSV": ((*IMPORT, "--across", "--format", "csv"), "--across"),
    "the results for the table": ((*IMPORT, "--output", "sound.csv"), "the results themselves lie there"),
    "a folder for the table": (
        (*IMPORT, "--output", "folder.csv"),
        "--output folder.csv: it is a folder; name the file to write",
    ),
    "a table's name too long": ((*IMPORT, "--output", LONG), "a path cannot be so long"),
}

WITH_TORCH: dict[str, tuple[tuple[str, ...], Said]] = {
    "a checkpoint of one byte": (("convert", "ibot_vit_small", "byte.pth", "out.safetensors"), "cannot be read as a"),
    "an empty checkpoint": (("convert", "ibot_vit_small", "empty.pth", "out.safetensors"), "empty.pth: cannot be read"),
    "a checkpoint that no one may read": (
        ("convert", "ibot_vit_small", "memory.pth", "o.safetensors"),
        "memory.pth: cannot be rea",
    ),
    "a checkpoint with no place": (("convert", "ibot_vit_small", "byte.pth"), "byte.pth: cannot be read"),
    "weights in a folder that is not there": (
        ("convert", "ibot_vit_small", "byte.pth", "no/x.safetensors"),
        "there is no folder",
    ),
    "weights in the place of a file": (("convert", "ibot_vit_small", "byte.pth", "byte.safetensors"), "exists already"),
    "safetensors of one byte": (
        ("convert", "ibot_vit_small", "byte.safetensors", "o.safetensors"),
        "read as safetensors",
    ),
    "safetensors with a head of 60,000 levels": (
        ("convert", "ibot_vit_small", "head.safetensors", "o.safetensors"),
        "safetensors",
    ),
    "weights of another suffix": (("convert", "micro_vit", "byte.pth", "o"), "must be called something.safetensors"),
    "weights without a place": (
        ("convert", "micro_vit", "byte.pth"),
        "OUT is missing: bench convert micro_vit byte.pth OUT.safetensors",
    ),
    "images that are none": (("data", "check", "folder:images", "--images"), "train/a/1.png: it is no image"),
    "data that is not there": (("data", "check", "cub200"), "there is no folder"),
    "a method that raises": (("check-method", "sound/bang.py"), "bang.py:2: running the file ends in RuntimeError: x"),
    "a method that leaves": (("check-method", "sound/bye.py"), "running the file ends the process: sys.exit(3)"),
    "a backbone that is not there": (("check-method", "ce", "--backbone", "x"), "no backbone is called 'x'"),
}


def cases() -> dict[str, tuple[tuple[str, ...], Said]]:
    """Every invocation that needs no torch, by what is wrong with it."""
    commands = itertools.cycle(("plan", "run", "status", "table", "figure", "power"))
    found: dict[str, tuple[tuple[str, ...], Said]] = dict(OPTIONS)
    for number, (kind, (_, says)) in enumerate(EXPERIMENTS.items()):
        found[f"experiment: {kind}"] = ((next(commands), f"experiment{number}.yaml"), says)
    for name, (_, says) in FILES.items():
        found[f"file: {name}"] = ((next(commands), name), says)
    for name, (_, says) in PLUGINS.items():
        found[f"plugin: {name}"] = (("list", "methods", "--plugin", f"plugins/{name}.py"), says)
    shown = itertools.cycle((("show",), ("plan", "demo", "--datasets"), ("data", "prepare"), ("data", "check")))
    for name, (_, _, says) in DATASETS.items():
        found[f"dataset: {name}"] = ((*next(shown), name, "--plugin", f"dataset_{name}"), says)
    for name, (_, _, says) in BACKBONES.items():
        found[f"backbone: {name}"] = (("show", name, "--plugin", f"backbone_{name}"), says)
    read = itertools.cycle((("table", "p/table1"), ("plan", "p"), ("status", "p")))
    for number, (kind, (_, _, says)) in enumerate(TABLES.items()):
        found[f"table: {kind}"] = ((*next(read), "--plugin", f"table{number}"), says)
    for number, (kind, (_, _, says)) in enumerate(PROTOCOLS.items()):
        found[f"protocol: {kind}"] = ((*next(read), "--plugin", f"protocol{number}"), says)
    for number, (kind, (_, _, says)) in enumerate(CLAIMED.items()):
        found[f"claims: {kind}"] = (("claims", "p", "--plugin", f"claims{number}"), says)
    for name, (_, says) in RESULTS.items():
        found[f"results: {name}"] = (("import", f"{name}.csv"), says)
    return found


CASES = cases()


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def written(entries: dict[str, str]) -> str:
    return "".join(f"{key}: {value}\n" for key, value in entries.items())


def write_paper(folder: Path, table: str = TABLE, protocol: str = PROTOCOL, claims: str = CLAIMS) -> None:
    for name, text in (("table1", table), ("protocol", protocol), ("claims", claims)):
        write(folder / "paper_tables" / "p" / f"{name}.yaml", text)


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def fill(folder: Path) -> None:
    """Everything to be wrong with."""
    for number, (change, _) in enumerate(EXPERIMENTS.values()):
        write(folder / f"experiment{number}.yaml", written({**SOUND, **change}))
    for name, (content, _) in (*FILES.items(), *((f"{name}.csv", result) for name, result in RESULTS.items())):
        write(folder / name, content)
    for name, (text, _) in PLUGINS.items():
        write(folder / "plugins" / f"{name}.py", text)
    for kind, sound, cards in (("dataset", DATASET, DATASETS), ("backbone", BACKBONE, BACKBONES)):
        for name, (old, new, _) in cards.items():
            write(folder / f"{kind}_{name}" / f"{kind}s" / f"{name}.yaml", replaced(sound, old, new))
    for number, (old, new, _) in enumerate(TABLES.values()):
        write_paper(folder / f"table{number}", table=replaced(TABLE, old, new))
    for number, (old, new, _) in enumerate(PROTOCOLS.values()):
        write_paper(folder / f"protocol{number}", protocol=replaced(PROTOCOL, old, new))
    for number, (old, new, _) in enumerate(CLAIMED.values()):
        write_paper(folder / f"claims{number}", claims=replaced(CLAIMS, old, new))
    write(folder / "sound.csv", LINES)
    write(folder / "sound" / "bang.py", "\nraise RuntimeError('x')\n" + PLUGIN)
    write(folder / "sound" / "bye.py", "import sys\nsys.exit(3)\n" + PLUGIN)
    write(folder / "byte.pth", b"x")
    write(folder / "byte.safetensors", b"x")
    write(folder / "head.safetensors", (60_000).to_bytes(8, "little") + b"[" * 60_000)
    write(folder / "empty.pth", b"")
    for name in ("images/train/a/1.png", "images/test/a/1.png", "strange/train/a/1.png", "strange/test/b/1.png"):
        write(folder / name, b"x")
    for name in ("broken", "pipes"):
        write(folder / name / "test" / "a" / "1.png", b"x")
        (folder / name / "train" / "a").mkdir(parents=True)
    (folder / "broken/train/a/1.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipes/train/a/1.png")
    for suffix in ("yaml", "csv", "pth", "safetensors"):
        (folder / f"folder.{suffix}").mkdir()
    for name in ("loop", "loop.yaml", "loop.py", "loop.safetensors"):
        (folder / name).symlink_to(name)
    for suffix in ("yaml", "csv", "py", "pth"):
        (folder / f"memory.{suffix}").symlink_to("/proc/self/mem")  # no one can read its first byte, root included
    (folder / "zeros.yaml").symlink_to("/dev/zero")
    for suffix in ("yaml", "pth"):
        os.mkfifo(folder / f"pipe.{suffix}")


def tree(folder: Path) -> list[tuple[str, int, int]]:
    """Everything in a folder, files with size and time, but for what Python itself keeps of code that it has read."""
    found = []
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            found.append((str(path), 0, 0))
        else:
            found.append((str(path), path.lstat().st_size, path.lstat().st_mtime_ns))
    return sorted(row for row in found if "__pycache__" not in row[0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    fill(folder)
    return folder


@pytest.fixture
def here(scene: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of all that is wrong, in which no process may start and nothing may hang."""

    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("a process would be started")

    def hang(*args: object) -> None:
        raise AssertionError("it hangs")

    monkeypatch.chdir(scene)
    monkeypatch.setenv("COLUMNS", "100")
    for variable in ("BENCH_DATA", "BENCH_PLUGIN", "BENCH_RESULTS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(60)
    yield scene
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def call(arguments: tuple[str, ...]) -> int:
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


def check(arguments: tuple[str, ...], says: Said, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one promise about bad input."""
    before = tree(folder)
    code = call(arguments)
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, ""), captured.err
    lines = captured.err.splitlines()
    assert 0 < len(lines) <= MOST_PROBLEMS + 1
    assert all(line.startswith("bench: ") and line.isprintable() and len(line) < 1200 for line in lines), captured.err
    for part in (says,) if isinstance(says, str) else says:
        assert part in captured.err
    assert tree(folder) == before


def test_there_are_many() -> None:
    assert len(CASES) + len(WITH_TORCH) >= 170
    commands = {arguments[0] for arguments, _ in (*CASES.values(), *WITH_TORCH.values()) if arguments}
    assert commands >= {
        *("run", "plan", "status", "table", "figure", "list", "show", "completion", "check-method", "convert", "data"),
        *("audit", "claims", "power", "import"),
    }


@pytest.mark.parametrize("kind", CASES)
def test_is_told_and_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    started = time.process_time()
    check(*CASES[kind], here, capsys)
    assert time.process_time() - started < SECONDS


@pytest.fixture(scope="module")
def torch_loaded() -> None:
    """What reads checkpoints and images, imported while processes may still start."""
    for module in ("bench.backbones.convert", "bench.conformance", "bench.data.read"):
        importlib.import_module(module)


@pytest.mark.parametrize("kind", WITH_TORCH)
def test_is_told_where_torch_is_needed(
    torch_loaded: None, here: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    check(*WITH_TORCH[kind], here, capsys)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a paper that is as it should be."""
    folder = tmp_path_factory.mktemp("paper")
    write_paper(folder)
    return folder


OVERRIDES = {
    "selection": ("bestval", "no selection is called 'bestval'; did you mean 'best-val'?"),
    "split": ("nonsense", "no split is called 'nonsense' (there are: test, val)"),
    "test": ("wilcoxon", "no test is called 'wilcoxon' (there are: auto, paired, permutation, pooled, welch)"),
    "across": ("those", "no claim over datasets is called 'those'"),
    "metric": ("top_1", "no metric is called 'top_1'; did you mean 'top1'?"),
    "seeds": ("0,x", "seeds are how many (3) or which (0,1,2)"),
    "rates": ("0", "the rate 0 is not allowed; it is in percent"),
    "methods": ("cee", "no method"),
    "set": ("stps=3", "no protocol setting is called 'stps'"),
}
"""A wrong word for each option that changes what is asked of a target; all kinds of target refuse it alike."""

OF_TESTS = ("test", "across")
OF_RESULTS = ("table", "run")


@pytest.mark.parametrize("option", OVERRIDES)
@pytest.mark.parametrize("target", ["demo", "p/table1"])
@pytest.mark.parametrize("command", ["table", "run", "plan", "status", "power", "items", "figure", "runs"])
def test_a_wrong_override_is_refused_by_every_command_of_every_kind_of_target(
    here: Path, paper: Path, capsys: pytest.CaptureFixture[str], command: str, target: str, option: str
) -> None:
    value, says = OVERRIDES[option]
    takes = option not in OF_TESTS or command in OF_RESULTS or (command, option) == ("power", "test")
    arguments = [command, target, f"--{option}", value, "--plugin", str(paper)]
    with contextlib.suppress(SystemExit):
        assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"--{option}" in captured.err
    assert (says in captured.err) or not takes, captured.err


@pytest.mark.parametrize("option", ["test", "across", "metric"])
def test_an_imported_table_refuses_them_too(here: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    file = here.parent / "numbers.csv"
    file.write_text("method,dataset,seed,value\nA,D,0,1\nA,D,1,2\nB,D,0,3\n", encoding="utf-8")
    with contextlib.suppress(SystemExit):
        assert main(["import", str(file), f"--{option}", OVERRIDES[option][0]]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"--{option}" in captured.err


@pytest.mark.slow
def test_none_of_it_waits_for_torch(scene: Path) -> None:
    """All of them in one process, at the end of which nothing heavy has been imported."""
    code = (
        "import contextlib, io, json, sys\nfrom bench.cli import main\n"
        "for arguments in json.load(sys.stdin):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):\n"
        "        assert main(arguments) == 2, arguments\n"
        "print(*sorted({'torch', 'torchvision', 'timm', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    given = json.dumps([arguments for arguments, _ in CASES.values()])
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, text=True, check=False, cwd=scene, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


@pytest.mark.slow
def test_a_terminal_that_lacks_a_character_is_no_mistake(scene: Path) -> None:
    environment: dict[str, Any] = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    bench = Path(sys.executable).with_name("bench")
    done = subprocess.run([bench, "table", "gta/table2"], capture_output=True, env=environment, check=False, cwd=scene)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xb1" in done.stdout
