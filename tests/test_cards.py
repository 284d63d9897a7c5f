"""Cards of methods, backbones and datasets, and the registry that finds them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cards import MethodCard
from bench.cards.backbone import file_sha256
from bench.cards.code import code_digest
from bench.cards.kinds import CLASSLESS, POOLED_MAPS, VIT, BackboneKind
from bench.cards.method import read_method
from bench.errors import InputError
from bench.registry import Registry

ROOT = Path(__file__).parents[1]
BUILT_IN = sorted(path.stem for path in (ROOT / "methods").glob("*.py"))

METHOD = '''"""A method for tests."""

from __future__ import annotations

from dataclasses import dataclass

from bench.method import Method, hyper


@dataclass(frozen=True)
class Mine(Method):
    """Does nothing new."""

    paper = "nobody, nowhere"
    needs = {"tokens"}

    weight: float = hyper(1.0, low=0, source="our choice")
'''
FIELD = '    weight: float = hyper(1.0, low=0, source="our choice")\n'
FIELD_LINE = METHOD[: METHOD.index(FIELD)].count("\n") + 1


def method_file(folder: Path, text: str = METHOD, name: str = "mine") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def card_of(path: Path) -> MethodCard:
    return Registry([path]).method(path.stem)


def refused(action: Callable[[], object]) -> str:
    """What the one problem of an action says."""
    with pytest.raises(InputError) as caught:
        action()
    (problem,) = caught.value.problems
    return problem


def other_pythons() -> list[Path]:
    """Interpreters of other versions on this machine, as pyenv installs them."""
    found = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python"))
    minor = {path: int(path.parts[-3].split(".")[1]) for path in found}
    return [path for path in found if minor[path] >= 10]


class TestWithoutTorch:
    def test_every_card_is_read_without_torch_and_timm(self) -> None:
        code = """
import sys, bench
registry = bench.Registry()
for name in registry.method_files: registry.method(name)
for name in registry.backbone_files: registry.backbone(name)
for name in registry.dataset_files: registry.dataset(name)
registry.backbone("timm:vit_tiny_patch16_224@none")
print(len(registry.method_files), sorted({"torch", "torchvision", "timm", "numpy"} & set(sys.modules)))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == f"{len(Registry().method_files)} []\n"


class TestBuiltIn:
    @pytest.mark.parametrize("name", BUILT_IN)
    def test_the_card_agrees_with_the_class(self, name: str) -> None:
        """What is read without running the file is what running it gives."""
        registry = Registry()
        card = registry.method(name)
        method = registry.load_method(card)
        value = method()
        assert {key: getattr(value, key) for key in card.hypers} == dict(card.resolve({}))
        assert method.paper == card.paper
        assert frozenset(method.needs) == card.needs

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_it_cites_and_says_where_its_values_come_from(self, name: str) -> None:
        card = Registry().method(name)
        assert card.paper
        assert card.summary.endswith(".")
        assert all(len(hyper.source) > 3 for hyper in card.hypers.values())

    def test_gta(self) -> None:
        card = Registry().method("gta")
        assert card.needs == {"cls_attention"}
        assert card.hypers["weight"].default == 1.0
        assert card.hypers["weight"].low == 0
        assert "2401.02656" in card.paper
        assert card.path == ROOT / "methods" / "gta.py"


class TestMethodFile:
    def test_what_is_declared_is_read(self, tmp_path: Path) -> None:
        rest = (
            '    times: int = hyper(3, low=1, high=9, source="s")\n'
            '    on: bool = hyper(False, source="s")\n'
            '    kind: str = hyper("a", choices=("a", "b"), source="s")\n'
            "    shared: ClassVar[int] = 3\n"
        )
        card = card_of(method_file(tmp_path, METHOD + rest))
        assert (card.name, card.class_name, card.summary) == ("mine", "Mine", "A method for tests.")
        assert card.paper == "nobody, nowhere"
        assert card.needs == {"tokens"}
        assert [(h.name, h.type, h.default) for h in card.hypers.values()] == [
            ("weight", "float", 1.0),
            ("times", "int", 3),
            ("on", "bool", False),
            ("kind", "str", "a"),
        ]
        assert (card.hypers["times"].low, card.hypers["times"].high) == (1, 9)
        assert card.hypers["kind"].choices == ("a", "b")

    def test_a_negative_default_and_bound(self, tmp_path: Path) -> None:
        text = METHOD.replace("hyper(1.0, low=0,", "hyper(-0.5, low=-1, high=-0.25,")
        assert card_of(method_file(tmp_path, text)).hypers["weight"].default == -0.5

    def test_the_file_is_not_run(self, tmp_path: Path) -> None:
        path = method_file(tmp_path, METHOD + '\nraise SystemExit("run")\n')
        assert card_of(path).class_name == "Mine"

    @pytest.mark.parametrize(
        ("before", "after", "line", "says"),
        [
            ("class Mine(Method):", "class Mine(Method:", None, "not valid Python"),
            (METHOD, "", 1, "no class that derives from Method"),
            ("class Mine(Method):", "class Mine:", 1, "no class that derives from Method"),
            (FIELD, FIELD + "\nclass Other(Method):\n    pass\n", 1, "2 classes that derive from Method"),
            ("hyper(1.0,", "hyper(float('1'),", FIELD_LINE, "weight must be a literal"),
            ("hyper(1.0,", "hyper(DEFAULT,", FIELD_LINE, "weight must be a literal"),
            ("low=0", "low=LOW", FIELD_LINE, "weight must be a literal"),
            ("weight: float", "weight: Tensor", FIELD_LINE, "one of float, int, bool, str"),
            ("weight: float", "weight: list[float]", FIELD_LINE, "one of float, int, bool, str"),
            (', source="our choice"', "", FIELD_LINE, "weight needs a source"),
            ('source="our choice"', 'source=""', FIELD_LINE, "weight needs a source"),
            ("hyper(1.0,", "hyper(-1.0,", FIELD_LINE, "a number of at least 0"),
            ("hyper(1.0,", "hyper('1.0',", FIELD_LINE, "a number of at least 0"),
            ("hyper(1.0,", "hyper(None,", FIELD_LINE, "a number of at least 0"),
            ("hyper(1.0, low=0,", "hyper(1.0, high=0.5,", FIELD_LINE, "a number of at most 0.5"),
            ("hyper(1.0, low=0,", "hyper(1.0, choices=(2.0, 3.0),", FIELD_LINE, "one of 2.0, 3.0"),
            ("low=0", "lo=0", FIELD_LINE, "did you mean 'low'?"),
            ("low=0", "low='0'", FIELD_LINE, "low"),
            ("low=0", "choices=5", FIELD_LINE, "choices"),
            ("hyper(1.0, low=0,", "hyper(", FIELD_LINE, "must be declared as weight: float = hyper("),
            ('hyper(1.0, low=0, source="our choice")', "1.0", FIELD_LINE, "must be declared as weight: float = hyper("),
            (' = hyper(1.0, low=0, source="our choice")', "", FIELD_LINE, "must be declared as weight: float = hyper("),
            ('needs = {"tokens"}', "needs = wanted()", FIELD_LINE - 2, "needs must be a literal"),
            ('needs = {"tokens"}', "needs = 5", FIELD_LINE - 2, "needs"),
            ('paper = "nobody, nowhere"', "paper = cite()", FIELD_LINE - 3, "paper must be a literal"),
            ('paper = "nobody, nowhere"', "paper = 5", FIELD_LINE - 3, "paper"),
        ],
    )
    def test_a_bad_file_is_one_problem_with_its_place(
        self, tmp_path: Path, before: str, after: str, line: int | None, says: str
    ) -> None:
        assert METHOD.count(before) == 1
        path = method_file(tmp_path, METHOD.replace(before, after))
        problem = refused(lambda: card_of(path))
        assert says in problem
        place = rf"{re.escape(str(path))}:{line or r'[0-9]+'}:"
        assert re.match(place, problem), f"{problem!r} begins with no {place}"

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"# caf\xe9\n", METHOD.encode("utf-16")])
    def test_a_file_that_is_not_utf8(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "mine.py"
        path.write_bytes(content)
        problem = refused(lambda: card_of(path))
        assert problem == f"{path}: cannot be read: it is not UTF-8 text"

    def test_a_byte_order_mark_is_no_mistake(self, tmp_path: Path) -> None:
        """Python itself runs such a file; some editors on Windows write one."""
        path = tmp_path / "mine.py"
        path.write_bytes(b"\xef\xbb\xbf" + METHOD.encode())
        assert card_of(path).class_name == "Mine"

    def test_a_nul_byte(self, tmp_path: Path) -> None:
        path = method_file(tmp_path, METHOD + "\0")
        assert refused(lambda: card_of(path)).startswith(f"{path}:")

    def test_a_need_that_is_a_text_is_not_split_into_letters(self, tmp_path: Path) -> None:
        path = method_file(tmp_path, METHOD.replace('{"tokens"}', '"tokens"'))
        try:
            needs = card_of(path).needs
        except InputError as error:
            assert error.problems[0].startswith(f"{path}:{FIELD_LINE - 2}:")  # noqa: PT017
        else:
            assert needs == {"tokens"}


DECIDED = METHOD.replace("hyper(1.0, low=0,", 'hyper({"a": 1, "b": 0.5}, by="form", low=0,') + (
    '    form: str = hyper("a", choices=("a", "b"), source="s")\n'
)
"""A method whose weight belongs to its form."""


class TestDecidedDefaults:
    def test_the_default_follows_the_deciding_value(self, tmp_path: Path) -> None:
        card = card_of(method_file(tmp_path, DECIDED))
        assert card.hypers["weight"].defaults == {"a": 1.0, "b": 0.5}
        assert dict(card.resolve({})) == {"form": "a", "weight": 1.0}
        assert dict(card.resolve({"form": "b"})) == {"form": "b", "weight": 0.5}
        assert dict(card.resolve({"form": "b", "weight": 1})) == {"form": "b", "weight": 1.0}

    def test_what_is_written_is_what_is_left_out_where_both_are_the_default(self, tmp_path: Path) -> None:
        card = card_of(method_file(tmp_path, DECIDED))
        assert card.resolve({"form": "b", "weight": 0.5}) == card.resolve({"form": "b"})
        values = [*dict(card.resolve({})).values(), *dict(card.resolve({"weight": 1})).values()]
        assert [type(value) for value in values] == [str, float] * 2  # 1 and 1.0 would be two runs

    def test_the_class_agrees(self, tmp_path: Path) -> None:
        registry = Registry([method_file(tmp_path, DECIDED)])
        mine = registry.load_method(registry.method("mine"))
        assert (mine().weight, mine(form="b").weight, mine(form="b", weight=2.0).weight) == (1.0, 0.5, 2.0)

    def test_a_method_that_derives_may_decide_anew(self, tmp_path: Path) -> None:
        method_file(tmp_path / "methods", DECIDED)
        child = DECIDED.replace("class Mine(Method)", "class Child(Mine)").replace("0.5", "0.25")
        child = child.replace(
            "from bench.method import", "from bench.methods.mine import Mine\nfrom bench.method import"
        )
        registry = Registry([tmp_path, method_file(tmp_path, child, "child")])
        assert dict(registry.method("child").resolve({"form": "b"}))["weight"] == 0.25
        assert registry.load_method(registry.method("child"))(form="b").weight == 0.25

    @pytest.mark.parametrize(
        ("before", "after", "says"),
        [
            ('by="form", ', "", "a default for each value of another one is hyper({...}, by='its name')"),
            ('{"a": 1, "b": 0.5}', "1.0", "a default for each value of another one is hyper({...}, by='its name')"),
            ('{"a": 1, "b": 0.5}', "{}", "a default for each value of another one is hyper({...}, by='its name')"),
            (', "b": 0.5', "", "there must be a default for each value of form: a, b"),
            ('"b": 0.5', '"b": 0.5, "c": 1', "there must be a default for each value of form: a, b"),
            ('"b": 0.5', '"b": -1', "weight = -1 is not allowed; it must be a number of at least 0"),
            ('by="form"', 'by="shape"', "by = 'shape' must be a hyper-parameter of the same method with choices"),
            ('by="form"', 'by="weight"', "by = 'weight' must be a hyper-parameter of the same method with choices"),
            ('by="form"', "by=5", "by = 5 has the wrong type"),
        ],
    )
    def test_what_cannot_be_decided_is_refused(self, tmp_path: Path, before: str, after: str, says: str) -> None:
        path = method_file(tmp_path, DECIDED.replace(before, after))
        problem = refused(lambda: card_of(path))
        assert says in problem
        assert re.match(rf"{re.escape(str(path))}:[0-9]+: ", problem)


class TestDerived:
    def child(self, folder: Path, body: str = "    pass\n", parent: str = "gta", base: str = "GTA") -> Path:
        text = (
            "from dataclasses import dataclass\nfrom bench.method import hyper\n"
            f"from bench.methods.{parent} import {base}\n\n"
            f"@dataclass(frozen=True)\nclass Child({base}):\n{body}"
        )
        return method_file(folder, text, "child")

    def test_it_inherits_hyper_parameters_needs_and_paper(self, tmp_path: Path) -> None:
        card, gta = card_of(self.child(tmp_path)), Registry().method("gta")
        assert card.hypers == gta.hypers
        assert (card.needs, card.paper) == (gta.needs, gta.paper)
        assert card.means != gta.means

    def test_it_adds_and_changes(self, tmp_path: Path) -> None:
        body = (
            '    paper = "mine"\n    needs = {"tokens"}\n'
            '    weight: float = hyper(0.5, low=0, source="s")\n    more: int = hyper(2, source="s")\n'
        )
        card = card_of(self.child(tmp_path, body))
        defaults = {name: hyper.default for name, hyper in card.hypers.items()}
        assert (defaults["weight"], defaults["more"]) == (0.5, 2)
        assert set(defaults) == {*Registry().method("gta").hypers, "more"}
        assert card.needs == {"tokens"}
        assert card.paper == "mine"

    def test_its_digest_depends_on_its_parents_code(self, tmp_path: Path) -> None:
        path = self.child(tmp_path)
        found = set()
        for text in (METHOD, METHOD.replace("1.0", "2.0")):
            mother = method_file(tmp_path / "mother", text)
            found.add(read_method(path, lambda name, mother=mother: mother).means)  # type: ignore[misc]
        assert len(found) == 2

    def test_a_parent_that_there_is_not(self, tmp_path: Path) -> None:
        problem = refused(lambda: card_of(self.child(tmp_path, parent="gtaa")))
        assert "gtaa" in problem
        assert str(tmp_path / "child.py") in problem

    def test_a_method_that_derives_from_itself(self, tmp_path: Path) -> None:
        problem = refused(lambda: card_of(self.child(tmp_path, parent="child", base="Child")))
        assert str(tmp_path / "child.py") in problem

    def test_its_class_runs(self, tmp_path: Path) -> None:
        registry = Registry([self.child(tmp_path)])
        assert registry.load_method(registry.method("child"))(weight=0.25).weight == 0.25

    def test_a_plugin_that_derives_from_another_plugin_runs(self, tmp_path: Path) -> None:
        method_file(tmp_path / "methods")
        self.child(tmp_path / "methods", parent="mine", base="Mine")
        code = (
            "import sys, bench\nregistry = bench.Registry([sys.argv[1]])\n"
            "print(registry.load_method(registry.method('child'))().weight)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("1.0\n", 0), done.stderr[-500:]


CODE = '''"""Told at the top."""
import math

LIMIT = 3  # a limit


def area(r):
    """Of a circle."""
    text = """# no comment,

    no docstring"""
    return math.pi * r ** 2, text, f"{r}#{r}"
'''


class TestCodeDigest:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("  # a limit", ""),
            ("  # a limit", '  # another \'limit\' """ ('),
            ("Told at the top.", "Told\n\nagain\n# here"),
            ('    """Of a circle."""\n', ""),
            ("Of a circle.", "Of\n    a circle.\n    "),
            ("import math\n", "# hello é\nimport math\n\n\n\n"),
            ("import math\n", "import math   \n"),
            ("LIMIT = 3", "\n\t\nLIMIT = 3"),
        ],
    )
    def test_ignores(self, before: str, after: str) -> None:
        assert CODE.count(before) == 1
        assert code_digest(CODE.replace(before, after)) == code_digest(CODE)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("LIMIT = 3", "LIMIT = 4"),
            ("LIMIT = 3", "LIMIT = 3; OTHER = 4"),
            ("# no comment", "# no comments"),
            ("no docstring", "no docstrings"),
            ("# no comment,\n\n", "# no comment,\n"),
            ("{r}#{r}", "{r}#"),
            ("    return", "    if r:\n        return"),
            ("r ** 2", "r ** 3"),
        ],
    )
    def test_does_not_ignore(self, before: str, after: str) -> None:
        assert CODE.count(before) == 1
        assert code_digest(CODE.replace(before, after)) != code_digest(CODE)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('"""Doc."""; LIMIT = 3\n', '"""Doc."""; LIMIT = 4\n'),
            ('def f(): "doc"\n', 'def g(): "doc"\n'),
            ('class A: "doc"\nX = 1\n', 'class B: "doc"\nX = 1\n'),
            ('def f(a=1): """doc"""; return a\n', 'def f(a=2): """doc"""; return a\n'),
        ],
    )
    def test_code_on_the_line_of_a_docstring_counts(self, one: str, other: str) -> None:
        assert code_digest(one) != code_digest(other)

    @pytest.mark.parametrize("separator", ["\x0c\n", "X = '\x0b'\n", "X = '\u2028'\n", "X = '\x1c\x85'\n"], ids=ascii)
    def test_odd_line_separators_do_not_shift_what_is_cut(self, separator: str) -> None:
        """``str.splitlines`` sees more lines than Python does."""
        one, other = f"{separator}LIMIT = 3\n# comment\n", f"{separator}LIMIT = 3\n# words\n"
        assert code_digest(one) == code_digest(other)
        for line in ("LIMIT", "NUMBER"):
            documented = f'{separator}{line} = 3\ndef f():\n    """Doc."""\n    return 1\n'
            plain = documented.replace('    """Doc."""\n', "")
            assert code_digest(documented) == code_digest(plain)
        changed = [f"{separator}LIMIT = {number}\n# comment\n" for number in (3, 4)]
        assert code_digest(changed[0]) != code_digest(changed[1])

    def test_the_parents_digest_counts(self) -> None:
        assert len({code_digest(CODE), code_digest(CODE, "a" * 12), code_digest(CODE, "b" * 12)}) == 3

    def test_line_ends_of_windows_do_not_matter(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"]
        for path, text in zip(paths, (METHOD, METHOD.replace("\n", "\r\n")), strict=True):
            path.parent.mkdir()
            path.write_bytes(text.encode())
        assert card_of(paths[0]).means == card_of(paths[1]).means

    @pytest.mark.parametrize("python", other_pythons(), ids=lambda path: path.parts[-3])
    def test_every_version_of_python_agrees(self, python: Path) -> None:
        """Else the records of one machine would not count on another."""
        tricky = CODE + 'Y = f"{LIMIT!r:>{LIMIT}}"  # end\nZ = [\n    1,  # one\n    # two\n]\n'
        code = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("code", sys.argv[1] + "/bench/cards/code.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
sys.path.insert(0, sys.argv[1])
spec.loader.exec_module(module)
print(json.dumps([module.code_digest(text) for text in json.load(sys.stdin)]))
"""
        texts = [tricky, *((ROOT / "methods" / f"{name}.py").read_text(encoding="utf-8") for name in BUILT_IN)]
        done = subprocess.run(
            [python, "-B", "-I", "-c", code, str(ROOT)],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [code_digest(text) for text in texts]


class TestResolve:
    def test_given_values_are_converted_and_the_rest_is_default(self) -> None:
        card = Registry().method("l2sp")
        values = dict(card.resolve({"alpha": 1}))
        assert values["alpha"] == 1.0
        assert isinstance(values["alpha"], float)
        assert set(values) == set(card.hypers)

    def test_all_problems_are_told_at_once_with_their_place(self) -> None:
        with pytest.raises(InputError) as caught:
            Registry().method("l2sp").resolve({"alfa": 1, "beta": -1, "replaces_decay": 1}, "here:7")
        told = caught.value.problems
        assert len(told) == 3
        assert all(problem.startswith("here:7: l2sp: ") for problem in told)
        assert "did you mean 'alpha'?" in told[0]
        assert "beta = -1 is not allowed; it must be a number of at least 0" in told[1]
        assert "true or false" in told[2]

    @pytest.mark.parametrize(
        "value", [None, True, "1", [1], {}, float("nan"), float("inf"), -0.001, 10**400], ids=lambda v: f"{v}"[:9]
    )
    def test_what_is_no_number_of_at_least_0(self, value: Any) -> None:
        problem = refused(lambda: Registry().method("gta").resolve({"weight": value}))
        assert "a number of at least 0" in problem


class TestBackbones:
    @pytest.mark.parametrize(
        ("model", "kind"),
        [
            ("vit_tiny_patch16_224", VIT),
            ("vit_small_patch16_224.dino", VIT),
            ("vit_base_patch16_clip_224.openai", VIT),
            ("deit_small_patch16_224", VIT),
            ("deit3_small_patch16_224", VIT),
            ("vit_base_patch14_dinov2.lvd142m", VIT),
            ("vit_base_patch14_reg4_dinov2.lvd142m", VIT),
            ("convnext_tiny", POOLED_MAPS),
            ("swinv2_cr_tiny_224", POOLED_MAPS),
            ("vit_base_patch16_siglip_224", CLASSLESS),
            ("vit_medium_patch16_gap_240", CLASSLESS),
            ("vit_relpos_base_patch16_224", None),
        ],
    )
    def test_which_timm_models_offer_attention_of_the_class_token(self, model: str, kind: BackboneKind | None) -> None:
        card = Registry().backbone(f"timm:{model}@none")
        assert card.offers == (kind.offers if kind else frozenset())
        assert ("cls_attention" in card.offers) is (kind is VIT)

    def test_weights_of_a_timm_model(self, tmp_path: Path) -> None:
        file = tmp_path / "w.safetensors"
        file.write_bytes(b"weights")
        cards = [Registry().backbone(f"timm:resnet18{chosen}") for chosen in ("", "@none", f"@{file}")]
        assert [card.weights for card in cards] == ["pretrained", "none", str(file)]
        assert [card.sha256 for card in cards] == ["", "", file_sha256(file)]
        assert len({card.means for card in cards}) == 3
        assert all(card.model == "resnet18" for card in cards)

    def test_weights_of_a_registered_backbone(self, tmp_path: Path) -> None:
        file = tmp_path / "w.safetensors"
        file.write_bytes(b"weights")
        registry = Registry()
        own, none, given = (registry.backbone(f"micro_vit{chosen}") for chosen in ("", "@none", f"@{file}"))
        assert own.weights == str(ROOT / "bench" / "backbones" / "micro_vit.safetensors")
        assert own.sha256 == file_sha256(Path(own.weights))
        assert (none.weights, none.sha256, given.weights) == ("none", "", str(file))
        assert len({own.means, none.means, given.means}) == 3
        assert none.offers == given.offers == own.offers - {"source_head"} >= {"cls_attention"}

    def test_the_same_weights_from_a_copy_are_the_same_backbone(self, tmp_path: Path) -> None:
        own = Registry().backbone("micro_vit")
        copy = tmp_path / "copy.safetensors"
        copy.write_bytes(Path(own.weights).read_bytes())
        assert Registry().backbone(f"micro_vit@{copy}").means == own.means

    @pytest.mark.parametrize("chosen", ["nothing", "missing.safetensors", ".", "~", "NONE", "pretrained"])
    @pytest.mark.parametrize("name", ["timm:resnet18", "micro_vit"])
    def test_bad_weights(self, name: str, chosen: str) -> None:
        problem = refused(lambda: Registry().backbone(f"{name}@{chosen}"))
        assert problem.startswith(f"{name}@{chosen}: ")
        assert "'none'" in problem
        assert ".safetensors" in problem

    def test_weights_of_another_format(self, tmp_path: Path) -> None:
        (tmp_path / "w.pth").write_bytes(b"a pickle could run anything")
        assert ".safetensors" in refused(lambda: Registry().backbone(f"micro_vit@{tmp_path / 'w.pth'}"))

    @pytest.mark.parametrize("name", ["timm:", "timm:a b", "timm:../x", "timm:hf_hub:x/y", "timm:x;y", "timm:é"])
    def test_names_that_no_timm_model_has(self, name: str) -> None:
        assert "timm model's name" in refused(lambda: Registry().backbone(name))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("model: resnet18\n", "'title' is missing"),
            ("title: t\n", "'model' is missing"),
            ("title: t\nmodel: 5\n", "'model' is missing or is not a text"),
            ("title: t\nmodel: resnet18\narguments: 5\n", "arguments"),
            ("title: t\nmodel: resnet18\noffers: 5\n", "offers"),
        ],
    )
    def test_a_malformed_card(self, tmp_path: Path, text: str, says: str) -> None:
        (tmp_path / "backbones").mkdir()
        path = tmp_path / "backbones" / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        problem = refused(lambda: Registry([tmp_path]).backbone("mine"))
        assert problem.startswith(f"{path}:")
        assert says in problem


class TestDatasets:
    def folder(self, root: Path, *files: str) -> Path:
        for file in files:
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.encode())
        return root

    def test_a_folder_of_images(self, tmp_path: Path) -> None:
        root = self.folder(
            tmp_path / "my pictures",
            "train/a/1.png",
            "train/b/1.JPG",
            "test/a/2.jpeg",
            "test/a/notes.txt",
            "other/x.png",
        )
        card = Registry().dataset(f"folder:{root}")
        assert (card.title, card.reader, card.path) == ("my pictures", "folder", str(root))
        assert card.facts["classes"] == 2
        assert card.facts["splits"] == {"train": 2, "test": 1}

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ([], "there is no such folder"),
            (["train/a/1.png"], "it has no folder 'test'"),
            (["test/a/1.png"], "it has no folder 'train'"),
            (["train/a/1.txt", "test/a/1.png"], "'train' holds no image"),
            (["train/1.png", "test/a/1.png"], "'train' holds no image"),
            (["train/a/1.png", "test/a/1.png", "test/b/1.png"], "'test' has classes that 'train' lacks: ['b']"),
            (["train/a/1.png", "test/a/1.png", "valid/b/1.png"], "'valid' has classes that 'train' lacks: ['b']"),
        ],
    )
    def test_a_folder_that_is_not_as_expected(self, tmp_path: Path, files: list[str], says: str) -> None:
        root = self.folder(tmp_path / "data", *files)
        problem = refused(lambda: Registry().dataset(f"folder:{root}"))
        assert problem.startswith(f"folder:{root}: ")
        assert says in problem

    def test_files_of_the_desktop_change_nothing(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path / "data", "train/a/1.png", "test/a/1.png")
        before = Registry().dataset(f"folder:{root}").means
        self.folder(root, "train/.DS_Store", "train/a/Thumbs.db", "test/a/.DS_Store", "README.md")
        assert Registry().dataset(f"folder:{root}").means == before


class TestRegistry:
    def test_two_methods_of_one_name_show_both_files(self, tmp_path: Path) -> None:
        path = method_file(tmp_path, name="gta")
        problem = refused(lambda: Registry([path]).method("gta"))
        assert str(path) in problem
        assert str(ROOT / "methods" / "gta.py") in problem
        assert "'gta'" in problem

    def test_two_plugins_of_one_name(self, tmp_path: Path) -> None:
        paths = [method_file(tmp_path / place) for place in "ab"]
        problem = refused(lambda: Registry(paths).method_files)
        assert all(str(path) in problem for path in paths)

    @pytest.mark.parametrize("kind", ["backbones", "datasets", "experiments"])
    def test_two_cards_of_one_name(self, tmp_path: Path, kind: str) -> None:
        name = {"backbones": "micro_vit", "datasets": "digits", "experiments": "demo"}[kind]
        (tmp_path / kind).mkdir()
        path = tmp_path / kind / f"{name}.yaml"
        path.write_text("title: t\n", encoding="utf-8")
        registry = Registry([tmp_path])
        attribute = {"backbones": "backbone_files", "datasets": "dataset_files", "experiments": "experiment_files"}[
            kind
        ]
        assert str(path) in refused(lambda: getattr(registry, attribute))

    def test_the_same_plugin_twice_is_no_clash(self, tmp_path: Path) -> None:
        path = method_file(tmp_path)
        assert Registry([path, str(path)]).method("mine").path == path

    def test_a_plugin_folder_has_the_shape_of_the_suite(self, tmp_path: Path) -> None:
        method_file(tmp_path / "methods")
        for kind, text in (
            ("datasets", "title: t\nreader: digits\n"),
            ("backbones", "title: t\nmodel: resnet18\n"),
            ("experiments", "title: t\n"),
        ):
            (tmp_path / kind).mkdir()
            (tmp_path / kind / f"my_{kind}.yaml").write_text(text, encoding="utf-8")
        registry = Registry([tmp_path])
        assert registry.method("mine").path == tmp_path / "methods" / "mine.py"
        assert registry.dataset("my_datasets").reader == "digits"
        assert registry.backbone("my_backbones@none").model == "resnet18"
        assert registry.experiment("my_experiments")["title"] == "t"

    @pytest.mark.parametrize("name", ["missing", "missing.py", "notes.txt"])
    def test_a_bad_plugin_path(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
        problem = refused(lambda: Registry([tmp_path / name]))
        assert problem == f"--plugin {tmp_path / name}: there is no such folder or .py file"

    @pytest.mark.parametrize("name", ["my-method", "1st", "_x", "a b", "é"])
    def test_a_file_whose_name_cannot_be_a_name(self, tmp_path: Path, name: str) -> None:
        path = method_file(tmp_path, name=name)
        problem = refused(lambda: Registry([path]).method_files)
        assert problem.startswith(f"{path}: '{name}' cannot be a name")

    @pytest.mark.parametrize("name", ["../gta", "a/b", "/etc/passwd", "gta.py", "..", "", "methods/gta", "gta\0", "~"])
    @pytest.mark.parametrize("kind", ["method", "backbone", "dataset", "experiment"])
    def test_a_name_cannot_leave_its_folder(self, kind: str, name: str) -> None:
        problem = refused(lambda: getattr(Registry(), kind)(name))
        assert problem.startswith("no ")
        assert f"is called '{name}'" in problem

    @pytest.mark.parametrize(
        ("kind", "name", "near"),
        [
            ("method", "gtaa", "gta"),
            ("method", "l2-sp", "l2sp"),
            ("backbone", "microvit", "micro_vit"),
            ("dataset", "digit", "digits"),
            ("experiment", "dmeo", "demo"),
        ],
    )
    def test_the_nearest_name_is_told(self, kind: str, name: str, near: str) -> None:
        problem = refused(lambda: getattr(Registry(), kind)(name))
        assert f"did you mean '{near}'?" in problem
        assert "(there are: " in problem

    def test_a_plugin_is_found_from_any_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        method_file(tmp_path)
        monkeypatch.chdir(tmp_path)
        registry = Registry(["mine.py"])
        monkeypatch.chdir(os.sep)
        assert registry.method("mine").path == tmp_path / "mine.py"
