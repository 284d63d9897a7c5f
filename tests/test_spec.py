"""The run id: what it depends on, and what it does not."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import bench.spec as spec_module
from bench.conformance import find_examined
from bench.hyper import Hyper
from bench.plan.target import read_plan
from bench.protocol import OF_ONE_KIND, Protocol, Recipe, declared
from bench.registry import Registry
from bench.spec import MethodSpec, Named, RunSpec, Seeds, digest, from_json, identity, to_json

BUILT_IN = Path(__file__).parents[1] / "methods"

PINNED = RunSpec(
    method=MethodSpec("gta", "0123456789ab", (("on", True), ("shape", "flat"), ("times", 3), ("weight", 0.3))),
    backbone=Named("micro_vit", "b" * 12),
    dataset=Named("digits", "d" * 12),
    rate=15.0,
    protocol=Protocol(Recipe(steps=300, lr=3e-3, warmup=30), batch_size=32, augmentation="shift"),
    seeds=Seeds(subset=1, init=2, order=3),
    seed=0,
)


def another(hyper: Hyper, value: object) -> Any:
    """An allowed value of a declared setting that is not the given one."""
    if hyper.choices is not None:
        return next(choice for choice in hyper.choices if choice != value)
    if hyper.type == "bool":
        return not value
    if hyper.type == "str":
        return f"{value}x"
    assert isinstance(value, (int, float))
    step = 1 if hyper.type == "int" else 0.25
    up = value + step
    return up if hyper.high is None or up <= hyper.high else value - step


def ids(text: str, folder: Path, *plugins: Path, name: str = "one") -> list[str]:
    """The ids of the runs of an experiment, in order."""
    file = folder / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return list(read_plan(str(file), Registry(plugins)).unique)


def one(folder: Path, *plugins: Path, name: str = "one", **changed: Any) -> str:
    """The id of the one run of a small experiment with some of its keys changed."""
    keys: dict[str, Any] = {
        "methods": {"row": {"gta": {"weight": 0.3}}},
        "backbones": ["micro_vit"],
        "datasets": ["digits"],
        "rates": [15],
        "seeds": [0],
        "protocol": {"steps": 10, "lr": 0.001},
    }
    (found,) = ids(yaml.safe_dump({**keys, **changed}, sort_keys=False), folder, *plugins, name=name)
    return found


def images(folder: Path, content: bytes = b"not decoded by anything that plans") -> Path:
    """A folder of images that is never opened, only hashed."""
    for split in ("train", "test"):
        for number, label in enumerate(("cat", "dog")):
            file = folder / split / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content + file.relative_to(folder).as_posix().encode())
    return folder


def drawn(hyper: Hyper) -> st.SearchStrategy[Any]:
    """Any allowed value of a declared setting."""
    if hyper.choices is not None:
        return st.sampled_from(hyper.choices)
    if hyper.type == "bool":
        return st.booleans()
    low, high = hyper.low or 0, 1e6 if hyper.high is None else hyper.high
    if hyper.type == "int":
        return st.integers(int(low), int(high))
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


RECIPES = st.builds(Recipe, **{name: drawn(hyper) for name, hyper in declared(Recipe).items()})
PROTOCOLS = st.builds(
    Protocol, recipe=RECIPES, **{name: drawn(hyper) for name, hyper in declared(Protocol).items() if name != "recipe"}
)
VALUES = st.one_of(
    st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=9)
)
HYPERS = st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=5), VALUES, max_size=4)
DIGESTS = st.text("0123456789abcdef", min_size=12, max_size=12)
DRAWN_SEEDS = st.integers(0, 2**31 - 1)
SPECS = st.builds(
    RunSpec,
    method=st.builds(MethodSpec, st.text(max_size=9), DIGESTS, HYPERS.map(lambda given: tuple(sorted(given.items())))),
    backbone=st.builds(Named, st.text(max_size=20), DIGESTS),
    dataset=st.builds(Named, st.text(max_size=20), DIGESTS),
    rate=st.floats(0, 100, exclude_min=True),
    protocol=PROTOCOLS,
    seeds=st.builds(Seeds, DRAWN_SEEDS, DRAWN_SEEDS, DRAWN_SEEDS),
    seed=st.integers(0, 10**6),
)


class TestShape:
    @given(SPECS)
    @settings(max_examples=80, deadline=None)
    def test_id_is_12_hexadecimal_digits(self, spec: RunSpec) -> None:
        assert re.fullmatch(r"[0-9a-f]{12}", spec.id)

    @given(SPECS)
    @settings(max_examples=80, deadline=None)
    def test_written_and_read_it_is_the_same_spec_with_the_same_id(self, spec: RunSpec) -> None:
        again = from_json(json.loads(json.dumps(to_json(spec))))
        assert again == spec
        assert again.id == spec.id

    @given(SPECS)
    @settings(max_examples=40, deadline=None)
    def test_the_order_of_keys_in_a_record_does_not_matter(self, spec: RunSpec) -> None:
        plain = json.loads(json.dumps(to_json(spec)))
        backwards = dict(reversed(plain.items()))
        backwards["protocol"] = dict(reversed(plain["protocol"].items()))
        backwards["protocol"]["recipe"] = dict(reversed(plain["protocol"]["recipe"].items()))
        assert from_json(backwards).id == spec.id

    def test_no_two_runs_of_a_grid_of_thousands_share_an_id(self) -> None:
        axes = itertools.product(range(8), range(4), range(4), (1.0, 5.0, 15.0, 100.0), range(10))
        found = [
            replace(
                PINNED,
                method=replace(PINNED.method, hyper=(("weight", method / 10),)),
                backbone=Named("b", digest(backbone)),
                dataset=Named("d", digest(["dataset", dataset])),
                rate=rate,
                seeds=Seeds(seed, seed, seed),
            ).id
            for method, backbone, dataset, rate, seed in axes
        ]
        assert len(found) == 5120
        assert len(set(found)) == len(found)


def serving(name: str) -> dict[str, Any]:
    """A shipped backbone that has what a method needs, and a dataset whose classes have names."""
    return {"backbones": [find_examined(Registry().method(name), Registry()).backbone.name], "datasets": ["cifar10"]}


class TestGolden:
    """A change here throws away everybody's records: raise ``ENGINE`` on purpose, never drift."""

    def test_a_pinned_spec_has_a_pinned_id(self) -> None:
        assert PINNED.id == "6c4ad45d7644"

    def test_protocol_defaults(self) -> None:
        assert dataclasses.asdict(Protocol()) == {
            "recipe": dataclasses.asdict(Recipe()),
            "batch_size": 64,
            "norm_batch": 0,
            "image_size": 0,
            "augmentation": "crop_flip",
            "label_smoothing": 0.0,
            "features": "every_step",
            "drop_path": 0.0,
            "validation": 0.1,
            "evaluations": 4,
            "precision": "auto",
            "compile": "none",
            "mixup": 0.0,
            "cutmix": 0.0,
            "mix_probability": 1.0,
            "mix_switch": 0.5,
            "erasing": 0.0,
            "inference": "whole",
            "decoder": 512,
            "auxiliary": 0.4,
        }

    def test_recipe_defaults(self) -> None:
        assert dataclasses.asdict(Recipe()) == {
            "steps": 0,
            "epochs": 0,
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.05,
            "momentum": 0.9,
            "beta2": 0.999,
            "lion_beta2": 0.99,
            "muon_momentum": 0.95,
            "nesterov": False,
            "schedule": "cosine",
            "power": 1.0,
            "warmup": 0,
            "warmup_epochs": 0.0,
            "min_lr": 0.0,
            "clip_norm": 0.0,
            "layer_decay": 1.0,
            "head_lr": 1.0,
            "schedule_share": 1.0,
            "first": 0,
            "last": -1,
        }

    def test_a_setting_at_its_default_is_not_hashed(self) -> None:
        """So that a setting added later, with a default that changes nothing, leaves the old ids alone."""
        assert identity(replace(PINNED, protocol=Protocol()))["protocol"] == {"recipe": {}}


class TestPlanned:
    """Ids that a plan takes from one encoded identity, cut where the seeds stand."""

    def test_three_runs_of_the_demo(self) -> None:
        """As they were before records and metrics had files of their own; what is trained would be trained again."""
        planned = list(read_plan("demo", Registry()).unique)
        assert (planned[0], planned[61], planned[71]) == ("e45aed66ca87", "eb1d44572e2a", "47cce6f61375")

    @pytest.mark.parametrize("key", ["zone", "task", "a key", "seeds of data", "seed"])
    def test_are_those_of_the_whole_identity_wherever_a_new_key_sorts(
        self, monkeypatch: pytest.MonkeyPatch, key: str
    ) -> None:
        plain = [spec.id for spec in self.planned()]
        monkeypatch.setattr(spec_module, "identity", lambda spec: {**identity(spec), key: {"seeds": [1, "seeds"]}})
        planned = self.planned()
        assert [spec.id for spec in planned] == [replace(spec).id for spec in planned]
        assert not {spec.id for spec in planned} & {*plain}

    def planned(self) -> list[RunSpec]:
        drawn_seeds = [(seed, Seeds(seed, seed + 1, seed + 2)) for seed in range(3)]
        return spec_module.with_seeds(PINNED, drawn_seeds)


class TestDoesNotMatter:
    def test_names_and_the_declared_seed_are_labels(self) -> None:
        renamed = replace(
            PINNED,
            method=replace(PINNED.method, name="other"),
            backbone=replace(PINNED.backbone, name="/elsewhere"),
            dataset=replace(PINNED.dataset, name="folder:/elsewhere"),
            seed=17,
        )
        assert renamed.id == PINNED.id

    @given(st.permutations(["title", "methods", "backbones", "datasets", "rates", "seeds", "protocol", "baseline"]))
    @settings(max_examples=12, deadline=None)
    def test_the_order_of_keys(self, tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
        keys: dict[str, Any] = {
            "title": "Any",
            "methods": {"row": {"gta": {"weight": 0.3}}},
            "backbones": ["micro_vit"],
            "datasets": ["digits"],
            "rates": [15],
            "seeds": [0],
            "protocol": {"steps": 10, "lr": 0.001},
            "baseline": "row",
        }
        folder = tmp_path_factory.mktemp("order")
        text = yaml.safe_dump({key: keys[key] for key in order}, sort_keys=False)
        assert ids(text, folder) == [one(folder)]

    def test_the_order_of_settings(self, tmp_path: Path) -> None:
        assert one(tmp_path, protocol={"lr": 0.001, "steps": 10}) == one(tmp_path)

    def test_protocol_defaults_written_out(self, tmp_path: Path) -> None:
        all_settings = {**declared(Recipe), **declared(Protocol)}
        out = {name: hyper.default for name, hyper in all_settings.items()} | {"steps": 10, "lr": 0.001}
        assert one(tmp_path, protocol=out) == one(tmp_path)

    @pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.py")))
    def test_method_defaults_written_out(self, tmp_path: Path, name: str) -> None:
        """Under each value that decides a default, too."""
        card = Registry().method(name)
        served = serving(name)
        deciding = {(hyper.by, value) for hyper in card.hypers.values() for value in hyper.defaults}
        for chosen in ({}, *({by: value} for by, value in sorted(deciding))):
            defaults = dict(card.resolve(chosen))
            written_out = one(tmp_path, methods={"row": {name: defaults}}, **served)
            assert written_out == one(tmp_path, methods={"row": {name: chosen}}, **served)

    def test_one_or_one_point_zero(self, tmp_path: Path) -> None:
        whole = one(tmp_path, methods={"row": {"gta": {"weight": 1}}}, rates=[15], protocol={"steps": 10, "lr": 1})
        point = one(
            tmp_path, methods={"row": {"gta": {"weight": 1.0}}}, rates=[15.0], protocol={"steps": 10.0, "lr": 1.0}
        )
        assert whole == point

    def test_the_experiments_name_folder_title_and_row_labels(self, tmp_path: Path) -> None:
        other = tmp_path / "some where é"
        labelled = {"another label": {"gta": {"weight": 0.3}}}
        assert one(other, name="renamed", methods=labelled, title="T", about="A", next=["x"]) == one(tmp_path)

    def test_the_other_seeds_rates_and_methods_beside_it(self, tmp_path: Path) -> None:
        wide = yaml.safe_dump(
            {
                "methods": {"a": "ce", "b": {"gta": {"weight": [0.3, 1]}}},
                "backbones": ["micro_vit"],
                "datasets": ["cluttered_digits", "digits"],
                "rates": [100, 15],
                "seeds": 3,
                "protocol": {"steps": 10},
            }
        )
        assert one(tmp_path) in ids(wide, tmp_path, name="wide")

    def test_the_name_of_the_method_file(self, tmp_path: Path) -> None:
        copy = tmp_path / "renamed.py"
        copy.write_bytes((BUILT_IN / "gta.py").read_bytes())
        assert one(tmp_path, copy, methods={"row": {"renamed": {"weight": 0.3}}}) == one(tmp_path)

    def test_comments_docstrings_and_blank_lines_of_the_method(self, tmp_path: Path) -> None:
        text = (BUILT_IN / "gta.py").read_text(encoding="utf-8")
        head, rest = text.split("\n", 1)
        told = f'"""Another story,\n\nlonger."""\n\n\n# a comment\n{rest}'.replace(
            "yield Stage", "# here\n\n        yield Stage"
        )
        assert told != text
        assert head != '"""Another story,'
        (tmp_path / "told.py").write_text(told, encoding="utf-8")
        assert one(tmp_path, tmp_path / "told.py", methods={"row": {"told": {"weight": 0.3}}}) == one(tmp_path)

    def test_the_folder_of_a_plugin(self, tmp_path: Path) -> None:
        found = []
        for place in ("here", "over there/é"):
            root = tmp_path / place
            (root / "methods").mkdir(parents=True)
            text = (BUILT_IN / "l2sp.py").read_text(encoding="utf-8") + "\n\nMINE = True\n"
            (root / "methods" / "mine.py").write_text(text, encoding="utf-8")
            found.append(one(tmp_path, root, methods=["mine"]))
        assert found[0] == found[1]

    def test_the_folder_of_a_plugins_backbone(self, tmp_path: Path) -> None:
        """Also where the card gives no checksum: an id must not hold an absolute path."""
        found = []
        for place in ("here", "there"):
            folder = tmp_path / place / "backbones"
            folder.mkdir(parents=True)
            (folder / "tiny.yaml").write_text(
                "title: tiny\nmodel: vision_transformer\noffers: [cls_attention]\n", encoding="utf-8"
            )
            (folder / "tiny.safetensors").write_bytes(b"the same weights")
            found.append(one(tmp_path, tmp_path / place, backbones=["tiny"]))
        assert found[0] == found[1]

    def test_the_folder_of_images_and_of_weights(self, tmp_path: Path) -> None:
        found = []
        for place in ("here", "there"):
            data = images(tmp_path / place / "pictures")
            weights = tmp_path / place / "weights.safetensors"
            weights.write_bytes(b"the same")
            found.append(one(tmp_path, datasets=[f"folder:{data}"], backbones=[f"micro_vit@{weights}"]))
        assert found[0] == found[1]


class TestMatters:
    @pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.py")))
    def test_every_hyper_parameter_of_every_method(self, tmp_path: Path, name: str) -> None:
        card = Registry().method(name)
        served = serving(name)
        plain = one(tmp_path, methods={"row": name}, **served)
        changed = {
            key: one(tmp_path, methods={"row": {name: {key: another(card.hypers[key], default)}}}, **served)
            for key, default in card.resolve({})
        }
        assert len({plain, *changed.values()}) == 1 + len(card.hypers)

    def test_every_setting(self, tmp_path: Path) -> None:
        found = {protocol: one(tmp_path, protocol={protocol: 500}) for protocol in ("steps", "epochs")}
        for key, hyper in {**declared(Recipe), **declared(Protocol)}.items():
            base: dict[str, Any] = {"epochs" if key in ("epochs", "warmup_epochs") else "steps": 500}
            base |= {kind: choice for setting, kind, choice in OF_ONE_KIND if setting == key}
            found[f"another {key}"] = one(
                tmp_path, protocol={**base, key: another(hyper, base.get(key, hyper.default))}
            )
        assert len(found) == 2 + len(declared(Recipe)) + len(declared(Protocol))
        assert len(set(found.values())) == len(found), found

    def test_every_field_of_a_recipe_and_a_protocol(self) -> None:
        """The window of a recipe too: none can be set from outside, all are part of what is hashed."""
        recipes = [replace(PINNED.protocol.recipe, first=1), replace(PINNED.protocol.recipe, last=5)]
        found = {replace(PINNED, protocol=replace(PINNED.protocol, recipe=recipe)).id for recipe in recipes}
        assert len(found | {PINNED.id}) == 3

    def test_the_rate(self, tmp_path: Path) -> None:
        assert one(tmp_path, rates=[15.5]) != one(tmp_path)

    @pytest.mark.parametrize("draw", ["subset", "init", "order"])
    def test_each_of_the_three_draws(self, draw: str) -> None:
        drawn_anew = replace(PINNED.seeds, **{draw: 99})
        assert replace(PINNED, seeds=drawn_anew).id != PINNED.id

    @pytest.mark.parametrize("draw", ["subset", "init", "order"])
    def test_the_declared_seed_through_each_draw(self, tmp_path: Path, draw: str) -> None:
        fixed: dict[str, list[str]] = {"subset": [], "init": [], "order": []}
        vary = {**fixed, draw: ["seed"]}
        assert one(tmp_path, vary=vary, seeds=[0]) != one(tmp_path, vary=vary, seeds=[1])
        assert one(tmp_path, vary=fixed, seeds=[0]) == one(tmp_path, vary=fixed, seeds=[1])

    def test_the_weights_of_a_backbone(self, tmp_path: Path) -> None:
        weights = tmp_path / "weights.safetensors"
        found = {one(tmp_path), one(tmp_path, backbones=["micro_vit@none"])}
        for content in (b"one", b"two"):
            weights.write_bytes(content)
            found.add(one(tmp_path, backbones=[f"micro_vit@{weights}"]))
        assert len(found) == 4

    def test_the_weights_of_a_plugins_backbone(self, tmp_path: Path) -> None:
        """Also where the card gives no checksum: other weights in the same file are another run."""
        folder = tmp_path / "backbones"
        folder.mkdir()
        (folder / "tiny.yaml").write_text(
            "title: tiny\nmodel: vision_transformer\noffers: [cls_attention]\n", encoding="utf-8"
        )
        found = set()
        for content in (b"one", b"two"):
            (folder / "tiny.safetensors").write_bytes(content)
            found.add(one(tmp_path, tmp_path, backbones=["tiny"]))
        assert len(found) == 2

    def test_the_content_of_a_folder_of_images(self, tmp_path: Path) -> None:
        data = images(tmp_path / "pictures")
        found = [one(tmp_path, datasets=[f"folder:{data}"])]
        (data / "test" / "cat" / "0.png").write_bytes(b"another picture")
        found.append(one(tmp_path, datasets=[f"folder:{data}"]))
        (data / "train" / "dog" / "1.png").rename(data / "train" / "dog" / "2.png")
        found.append(one(tmp_path, datasets=[f"folder:{data}"]))
        assert len(set(found)) == 3

    def test_the_checksum_and_version_of_a_dataset_card(self, tmp_path: Path) -> None:
        folder = tmp_path / "datasets"
        folder.mkdir()
        found = set()
        for rest in ("", "sha256: abc\n", "sha256: abd\n", "version: 2\n"):
            (folder / "mine.yaml").write_text(f"title: mine\nreader: digits\n{rest}", encoding="utf-8")
            found.add(one(tmp_path, tmp_path, datasets=["mine"]))
        assert len(found) == 4

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (".square()", ".abs()"),
            ("source = frozen(model)", "source = model"),
            ("import Tensor", "import Tensor as Tensor"),
        ],
    )
    def test_the_code_of_the_method(self, tmp_path: Path, before: str, after: str) -> None:
        text = (BUILT_IN / "gta.py").read_text(encoding="utf-8")
        assert text.count(before) == 1
        (tmp_path / "mine.py").write_text(text.replace(before, after), encoding="utf-8")
        changed = one(tmp_path, tmp_path / "mine.py", methods={"row": {"mine": {"weight": 0.3}}})
        assert changed != one(tmp_path)

    def test_the_code_of_a_method_that_it_derives_from(self, tmp_path: Path) -> None:
        root = tmp_path / "methods"
        root.mkdir()
        (root / "child.py").write_text(
            "from dataclasses import dataclass\nfrom bench.methods.mother import GTA\n\n"
            "@dataclass(frozen=True)\nclass Child(GTA):\n    pass\n",
            encoding="utf-8",
        )
        text = (BUILT_IN / "gta.py").read_text(encoding="utf-8")
        found = set()
        for mother in (text, text.replace(".mean()", ".sum()")):
            (root / "mother.py").write_text(mother, encoding="utf-8")
            found.add(one(tmp_path, tmp_path, methods=["child"]))
        assert len(found) == 2
