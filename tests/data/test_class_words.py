"""The names of classes in words."""

from __future__ import annotations

import pytest

from bench.data.class_words import in_words
from bench.errors import InputError
from bench.registry import Registry


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cat", "cat"),
        ("barn_owl", "barn owl"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02105855-Shetland_sheepdog", "Shetland sheepdog"),
        ("/a/airport_terminal", "airport terminal"),
        ("/b/bow_window/indoor", "bow window indoor"),
        ("BACKGROUND_Google", "BACKGROUND Google"),
        ("737-800", "737-800"),
        ("Eurofighter Typhoon", "Eurofighter Typhoon"),
        ("A340-300", "A340-300"),
        ("Audi A5 Coupe 2012", "Audi A5 Coupe 2012"),
        ("3_D_printer", "3 D printer"),
        ("forget-me-not", "forget-me-not"),
        ("_", "_"),
        ("7", "7"),
    ],
)
def test_names_of_folders_become_words(name: str, words: str) -> None:
    assert in_words([name]) == (words,)


def test_wordnet_ids_become_clips_names_of_imagenet() -> None:
    assert in_words(["n01440764", "n02129165", "n15075141"]) == ("tench", "lion", "toilet paper")
    wordnet = Registry().dataset("imagenet100").options["wnids"]
    named = in_words(sorted(wordnet))
    assert len({*named}) == 100
    assert not any(name.startswith("n0") for name in named)


def test_other_wordnet_ids_are_refused() -> None:
    with pytest.raises(InputError, match="outside of ImageNet-1k have no names here: n00000001"):
        in_words(["n01440764", "n00000001"])


def test_no_names_are_no_words() -> None:
    assert in_words([]) == ()
