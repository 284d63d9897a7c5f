"""Values of the papers' protocols: each has its source, they are those of the papers and their code, all are listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.papers.published import published_table
from bench.papers.sources import KINDS, kind_of
from bench.papers.values import PaperValue, counts, counts_in_words, others_of, values_of
from bench.plan.paper import plan_paper
from bench.registry import Registry
from tests.plan.test_paper import PAPERS, cell_of, hyper_of, hypers, mini, runs_of, whole

# ---- every value has its source


@pytest.mark.parametrize("paper", PAPERS)
def test_no_value_of_the_papers_of_the_suite_is_without_its_source(paper: str) -> None:
    values = values_of(paper, Registry())
    assert [f"{value.name} in {value.places}" for value in values if value.kind not in KINDS] == []
    assert len(values) > 30
    assert sum(counts(values).values()) == len(values)


@pytest.mark.parametrize("paper", PAPERS)
def test_what_is_our_choice_or_of_another_paper_says_why_or_which(paper: str) -> None:
    for value in values_of(paper, Registry()):
        if value.kind in ("our choice", "another paper"):
            assert value.source.removeprefix(value.kind).startswith(": "), value


@pytest.mark.parametrize("paper", PAPERS)
def test_what_a_run_has_beside_the_defaults_of_its_method_is_listed(paper: str) -> None:
    registry, listed = Registry(), dict[str, list[object]]()
    for value in values_of(paper, registry):
        listed.setdefault(value.name, []).extend(value.value if isinstance(value.value, list) else [value.value])
    for table, _, _, spec in runs_of(whole(paper)):
        for part in (spec.method, *spec.method.policies):
            hypers_of, chosen = registry.method(part.name).hypers, dict(part.hyper)
            for name, picked in chosen.items():
                if picked != hypers_of[name].default_among(chosen):
                    assert picked in listed[f"{part.name}.{name}"], (table.name, name)


def test_a_source_in_words_of_ones_own_is_taken_and_counted_apart(tmp_path: Path) -> None:
    kinds = {"paper, section 4": "paper", "our choice": "our choice", "papers 4": "somebody else", "": ""}
    assert {text: kind_of(text) for text in kinds} == kinds
    own = ("settings: {lr: 1e-3}", "settings: {lr: {value: 1e-3, source: appendix B}}")
    values = values_of("mini", mini(tmp_path, own))
    assert counts(values)["somebody else"] == 1
    assert "somebody else 1" in counts_in_words(values)
    assert "somebody else" not in counts(values_of("gta", Registry()))


def test_seeds_of_a_label_may_have_their_source(tmp_path: Path) -> None:
    plain = ('"15%": {rate: 15}', '"15%": {rate: 15, seeds: 3}')
    stated = ('"15%": {rate: 15}', '"15%": {rate: 15, seeds: {value: 3, source: paper Table 1}}')
    assert dict(plan_paper("mini", mini(tmp_path, stated)).unique) == dict(
        plan_paper("mini", mini(tmp_path, plain)).unique
    )
    assert PaperValue("seeds", 3, "paper Table 1", (("table1", "15%"),)) in values_of("mini", mini(tmp_path, stated))
    with pytest.raises(InputError, match="'seeds' must be"):
        plan_paper("mini", mini(tmp_path, ('"15%": {rate: 15}', '"15%": {rate: 15, seeds: {value: 3}}')))


# ---- they are listed and counted


def test_a_paper_of_ones_own_needs_no_sources_in_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = mini(tmp_path, ("settings: {lr: 1e-3}", "settings: {lr: {value: 1e-3, source: paper 5}}"))
    values = values_of("mini", registry)
    lr, weight = (value for value in values if value.places and value.name in ("lr", "gta.weight"))
    assert (lr.value, lr.source, lr.kind, lr.places) == (1e-3, "paper 5", "paper", (("table1", "Clutter"),))
    assert (weight.source, weight.kind) == ("", "")
    assert PaperValue("steps", 40, "paper 4", ()) in values
    assert PaperValue("optimizer", "adamw", "our choice: the suite's default", ()) in values
    assert "epochs" not in {value.name for value in values}  # they are counted in steps
    assert main(["show", "mini", "--plugin", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "lr = 0.001  (paper 5)\n      in table1 (Clutter)" in text
    assert "gta.weight = [0.1, 1]  (no source)\n      in table1 (GTA)" in text
    assert f"values by who states them: {counts_in_words(values)}" in text
    assert ", 1 without a source" in text


def test_equal_values_of_several_labels_are_one_and_others_are_not(tmp_path: Path) -> None:
    changes = (
        ('"15%": {rate: 15}', '"15%": {rate: 15, settings: {warmup: {value: 3, source: paper 4}}}'),
        ('"100%": {rate: 100}', '"100%": {rate: 100, settings: {warmup: {value: 3, source: paper 4}}}'),
        ("settings: {lr: 1e-3}", "settings: {warmup: {value: 3, source: released code}}"),
    )
    warmups = [value for value in values_of("mini", mini(tmp_path, *changes)) if value.name == "warmup"]
    assert [(value.source, value.places) for value in warmups[1:]] == [
        ("released code", (("table1", "Clutter"),)),
        ("paper 4", (("table1", "15%"), ("table1", "100%"))),
    ]
    assert warmups[0].source == "our choice: the suite's default"


def test_the_list_is_plain_data_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "fd", "--format", "json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert {"name": "epochs", "value": 90, "source": "paper 4.1", "kind": "paper"}.items() <= next(
        value for value in facts["values"] if value["places"] == [["table1", "linear"]] and value["name"] == "epochs"
    ).items()
    assert {value["kind"] for value in facts["values"]} == {*KINDS}


# ---- they are what papers and released code say


def tuned(table: str, row: tuple[str, ...] | str, column: str) -> tuple[float, float, float]:
    """Peak learning rate, layer decay and drop path of a cell's fine-tuning."""
    protocol = cell_of(table, row, column).candidates[0].runs[0].protocol
    return protocol.recipe.lr, protocol.recipe.layer_decay, protocol.drop_path


def test_distilled_models_are_tuned_as_was_released_for_each_and_the_models_before_as_the_paper_says() -> None:
    for row, values in {
        ("FD-DINO",): (6e-3, 0.6, 0.2),
        ("FD-DeiT",): (5e-3, 0.65, 0.3),
        ("FD-CLIP", "ViT-B"): (5e-3, 0.6, 0.3),
        ("FD-CLIP", "ViT-L"): (1e-3, 0.75, 0.4),
        ("FD-EsViT",): (5e-3, 0.8, 0.4),
        ("DINO [3]",): (5e-3, 0.65, 0.3),
        ("CLIP [33]", "ViT-B"): (5e-3, 0.65, 0.3),
    }.items():
        assert tuned("fd/table1", row, "f.t.") == values
    distilled: dict[str, tuple[str, ...] | str] = {
        "table2": "Full Feature map",
        "table3": "none",
        "table4": "APE",
        "table5": ("best", "0.1"),
    }
    for table, labels in distilled.items():
        assert tuned(f"fd/{table}", labels, "CLIP") == (5e-3, 0.65, 0.1)
        assert tuned(f"fd/{table}", labels, "DINO") == (6e-3, 0.6, 0.2)
    for teacher in ("CLIP", "DINO", "DeiT"):
        assert tuned("fd/table2", "before distill", teacher) == (5e-3, 0.65, 0.3)


def test_the_drop_path_of_students_is_the_best_of_the_four_of_section_4_1() -> None:
    for column in ("f.t.", "linear"):
        rates = [found["student_drop_path"] for found in hypers(cell_of("fd/table1", "FD-DINO", column))]
        assert rates == [0.1, 0.2, 0.3, 0.4]


def test_linear_probes_are_as_section_4_1_and_the_released_code_have_them() -> None:
    for row, epochs in {
        ("DINO [3]",): 90,
        ("FD-DINO",): 90,
        ("CLIP [33]", "ViT-L"): 50,
        ("FD-CLIP", "ViT-L"): 50,
    }.items():
        for candidate in cell_of("fd/table1", row, "linear").candidates:
            protocol, hyper = candidate.runs[0].protocol, hyper_of(candidate.runs[0])
            recipe = protocol.recipe
            assert (recipe.optimizer, recipe.weight_decay, recipe.epochs, recipe.momentum) == ("lars", 0, epochs, 0.9)
            assert recipe.lr == 0.1 * protocol.batch_size / 512
            assert hyper["batch_norm"]


def test_every_weight_of_gta_and_its_rivals_has_three_values() -> None:
    weights = {"gta": (1, 10, 100), "output_guide": (1, 10, 100), "l2sp": (0.01, 0.1, 1), "bss": (1e-4, 1e-3, 1e-2)}
    names = {"l2sp": "alpha", "bss": "eta"}
    for cell in (cell for table in whole("gta").tables for row in table.cells for cell in row if cell.candidates):
        method = cell.candidates[0].runs[0].method.name
        tried = tuple(found[names.get(method, "weight")] for found in hypers(cell)) if method in weights else ()
        assert tried == weights.get(method, ())
        assert len(cell.candidates) == (len(tried) or 1)


def test_lacvits_models_drop_paths_as_its_code_and_autoaugment_is_of_the_first_stage() -> None:
    for row, drop_path in {"Data2vec": 0.2, "ViT-B": 0, "LaCViT-ViT-B": 0, "SimMIM": 0.1, "LaCViT-MAE": 0.1}.items():
        (candidate,) = cell_of("lacvit/table1", row, "CIFAR-10").candidates
        protocol, hyper = candidate.runs[0].protocol, hyper_of(candidate.runs[0])
        assert (protocol.drop_path, protocol.augmentation) == (drop_path, "crop_flip")
        assert hyper.get("contrast_augmentation", "autoaugment") == "autoaugment"


def test_coin_trains_mae_in_batches_of_128_at_maes_rate() -> None:
    protocol = cell_of("coin/table6", "MAE-based COIN [61]", "DTD").candidates[0].runs[0].protocol
    assert (protocol.batch_size, protocol.recipe.lr) == (128, 5e-4 * 128 / 256)


# ---- what is not the paper's says so


def test_labels_that_are_known_to_be_other_have_their_reasons() -> None:
    registry = Registry()
    quoted = ("SL-CE-Tuning [13]", "L2SP [57]", "M&M [58]", "DELTA [59]", "BSS [60]", "RIFLE [34]", "Bi-Tuning [14]")
    assert others_of("coin", registry) == {
        "quoted from Core-Tuning's paper and its recipe, which has another augmentation": [
            ("table1", label) for label in quoted
        ]
    }
    lacvit = [place for places in others_of("lacvit", registry).values() for place in places]
    mae = {"MAE & CE & iNat 2017", "MAE & CE & Places365"}
    assert {label for table, label in lacvit if table == "table1"} == {"Data2vec", "ViT-B", *mae}
    small = {f"{method} & {name}" for method in ("LaCViT", "SimCLR") for name in ("Oxford-Flowers", "Oxford-Pets")}
    assert small < {label for table, label in lacvit if table == "released"}
    assert [place for places in others_of("fd", registry).values() for place in places] == [("table1", "BEiT [1]")]
    (cvt,) = others_of("drloc", registry).values()
    assert {table for table, _ in cvt} == {"table2", "table3", "table4", "released"}
    assert all(label.startswith("CvT-13") for _, label in cvt)
    assert not others_of("gta", registry)


def test_settings_that_are_known_to_be_other_have_their_reasons() -> None:
    registry = Registry()
    found = {
        (value.name, *place)
        for paper in PAPERS
        for value in values_of(paper, registry)
        for place in value.places
        if value.because
    }
    sizes = {("image_size", table, label) for table in ("table1", "table2") for label in ("Caltech-101", "Aircraft")}
    ade20k = {("image_size", "table1", "ViT-L & ADE20K"), ("inference", "table1", "Swin-B & ADE20K")}
    assert found == {*sizes, ("lr", "table5", ""), *ade20k}


def test_cells_of_what_is_other_are_not_compared_with_what_is_printed() -> None:
    differing = {
        table.name: [
            bool(cell.ground.differs) for row in table.cells for cell in row if cell.candidates and not cell.averages
        ]
        for paper in PAPERS
        for table in whole(paper).tables
    }
    assert all(differing["drloc/table5"])
    assert [sum(differing[f"drloc/table{number}"]) for number in (2, 3, 4)] == [4, 4, 20]
    assert sum(differing["lacvit/table1"]) == 8 + 7 + 2
    assert sum(differing["fd/table1"]) == 3 + 3 + 2  # BEiT's; on ADE20K Swins, and ViTs with patches of 14
    assert not any(any(differing[name]) for name in differing if name.startswith("gta/"))
    # the seven quoted rows in nine columns; of the other five rows three columns
    assert sum(differing["coin/table1"]) == 7 * 9 + 5 * 3


def test_coins_sentence_on_image_sizes_leaves_out_just_those_two() -> None:
    """Section 5.2 takes 'those datasets whose input size is 224x224' for Table 6."""
    first, last = ({*published_table(f"coin/table{number}", Registry()).columns} for number in (1, 6))
    assert first - last == {("Caltech-101",), ("Aircraft",)}
