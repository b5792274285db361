from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
import tyro
from molpool_common._cli import parse_config
from molpool_common._config import ConfigModel, validate_values
from molpool_common._errors import InputError
from molpool_common._flags import Alone, flag_names, has_flag, with_values
from molpool_common._help import help_page
from pydantic import Field, create_model


class Below(ConfigModel):
    """Things further down."""

    batch_size: int = Field(64, ge=1, description="molecules a step")
    clip: float | None = None
    mode: Literal["mean", "median"] = "mean"
    optional_mode: Literal["a", "b"] | None = None
    ratios: tuple[float, float] = (0.5, 0.5)
    weights: dict[str, float] = Field(default_factory=dict)
    nested: dict[str, dict[str, float]] = Field(default_factory=dict)


class Config(ConfigModel):
    """Things."""

    resume: bool = False
    shuffle: bool = True
    name: str | None = None
    columns: Annotated[list[str], tyro.conf.arg(aliases=["--columns-of"])] = Field(
        default_factory=list
    )
    below: Below = Field(default_factory=Below)
    parts: list[Below] = Field(default_factory=list)
    maybe: Below | None = None


def parse(*arguments: str) -> Config:
    return parse_config(Config, arguments, prog="p", description="D.")


class TestSeveralValues:
    def test_a_flag_given_twice_has_the_values_of_both(self) -> None:
        assert parse("--columns", "a", "b", "--name", "n", "--columns", "c").columns == [*"abc"]
        assert parse("--columns-of", "a", "--columns=b").columns == ["a", "b"]
        found = parse("--below.weights", "a", "1", "--below.weights", "b", "2")
        assert found.below.weights == {"a": 1.0, "b": 2.0}

    def test_the_last_of_single_values_counts(self) -> None:
        assert parse("--name", "a", "--name", "b").name == "b"
        twice = parse("--below.ratios", ".1", ".9", "--below.ratios", ".2", ".8")
        assert twice.below.ratios == (0.2, 0.8)


class TestBooleans:
    @pytest.mark.parametrize(
        ("word", "value"),
        [
            ("true", True), ("True", True), ("yes", True), ("1", True),
            ("false", False), ("FALSE", False), ("no", False), ("0", False),
        ],
    )  # fmt: skip
    def test_words(self, word: str, value: bool) -> None:
        assert parse("--resume", word).resume is value
        assert parse("--shuffle", word).shuffle is value

    def test_bare_flag_is_true(self) -> None:
        assert parse("--resume").resume is True
        assert parse("--resume", "--name", "x").resume is True

    def test_default_stays_where_the_flag_is_absent(self) -> None:
        assert (parse().resume, parse().shuffle) == (False, True)

    @pytest.mark.parametrize("words", [("maybe",), ("true", "false")])
    def test_other_words(self, words: tuple[str, ...]) -> None:
        with pytest.raises(InputError, match=f"^resume: expected a boolean; found '{words[0]}"):
            parse("--resume", *words)


class TestValues:
    def test_every_kind(self) -> None:
        config = parse(
            *("--below.batch-size", "8", "--below.clip", "0.5", "--below.mode", "median"),
            *("--below.ratios", "0.2", "0.8", "--below.weights", "a", "1", "b", "2"),
            *("--columns", "x", "y", "--name", "n"),
        )
        assert config.below.batch_size == 8
        assert config.below.clip == 0.5
        assert config.below.mode == "median"
        assert config.below.ratios == (0.2, 0.8)
        assert config.below.weights == {"a": 1.0, "b": 2.0}
        assert config.columns == ["x", "y"]
        assert config.name == "n"

    def test_odd_number_of_words_for_a_mapping(self) -> None:
        with pytest.raises(InputError, match=r"below\.weights: expected a .*; found 'a 1 b'"):
            parse("--below.weights", "a", "1", "b")

    def test_alias(self) -> None:
        assert parse("--columns-of", "x").columns == ["x"]

    def test_equals_sign_and_underscores(self) -> None:
        assert parse("--below.batch-size=8").below.batch_size == 8
        assert parse("--below.batch_size", "8").below.batch_size == 8

    def test_none(self) -> None:
        assert parse("--below.clip", "None").below.clip is None
        assert parse("--below.optional-mode", "None").below.optional_mode is None
        assert parse("--below.optional-mode", "b").below.optional_mode == "b"

    def test_negative_number(self) -> None:
        assert parse("--below.clip", "-0.5").below.clip == -0.5

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ("--below.batch-size", "many"),
                "below.batch_size: expected an integer; found 'many'.",
            ),
            (("--below.batch-size", "1.5"), "below.batch_size: expected an integer; found '1.5'."),
            (
                ("--below.batch-size", "0"),
                "below.batch_size: expected a number greater than or equal to 1; found '0'.",
            ),
            (("--below.clip", "x"), "below.clip: expected a number; found 'x'."),
            (("--below.clip", "nan"), "below.clip: expected a finite number; found 'nan'."),
            (
                ("--below.mode", "mediam"),
                "below.mode: expected 'mean' or 'median'; found 'mediam'. Did you mean 'median'?",
            ),
            (("--below.ratios", "a", "1"), "below.ratios.0: expected a number; found 'a'."),
        ],
    )
    def test_wrong(self, arguments: tuple[str, ...], message: str) -> None:
        with pytest.raises(InputError) as caught:
            parse(*arguments)
        assert str(caught.value) == message


class TestUnknown:
    def test_flag_names_the_nearest(self) -> None:
        with pytest.raises(
            InputError, match=r"'--batch-size'\. Did you mean '--below\.batch-size'"
        ):
            parse("--batch-size", "8")

    def test_flag_with_equals_sign(self) -> None:
        with pytest.raises(InputError, match=r"'--resum'\. Did you mean '--resume'"):
            parse("--resum=true")

    def test_nothing_near(self) -> None:
        with pytest.raises(InputError, match=r"--help lists them"):
            parse("--qqqqqqqq", "1")

    @pytest.mark.parametrize(
        ("given", "key"),
        [
            ("artefacts", "runs"),
            ("model-dir", "runs"),
            ("data", "data_path"),
        ],
    )
    def test_flag_of_another_command(self, given: str, key: str) -> None:
        # The nearest by letters, as --formats for --artefacts, means something else.
        fields: dict[str, Any] = {"formats": (str, "png"), key: (str, "")}
        model = create_model("C", **fields)
        there = key.replace("_", "-")
        with pytest.raises(InputError, match=rf"'--{given}'\. Did you mean '--{there}'"):
            parse_config(model, [f"--{given}", "a"], prog="p", description="d")

    def test_stray_word(self) -> None:
        with pytest.raises(InputError, match=r"arguments: expected --FLAG VALUE; found 'stray'"):
            parse("stray")


def test_every_flag_of_a_model() -> None:
    assert flag_names(Config) == [
        "--resume", "--shuffle", "--name", "--columns", "--columns-of",
        "--below.batch-size", "--below.clip", "--below.mode", "--below.optional-mode",
        "--below.ratios", "--below.weights",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, True),
        (str | None, True),
        (list[str], True),
        (tuple[float, float], True),
        (dict[str, float], True),
        (dict[str, Annotated[float, Field(ge=0)]] | None, True),
        (list[Annotated[list[int], Field(min_length=1)]], False),
        (dict[str, Literal["a", "b"]], True),
        (dict[str, list[str]], False),
        (dict[str, dict[str, float]], False),
        (dict[str, dict[str, float]] | None, False),
        (list[Below], False),
        (Below, True),
        (Below | None, False),
        (list[list[int]], False),
        (list[list[int]] | str | None, True),
        (dict[str, Below], False),
    ],
)
def test_what_one_flag_can_say(annotation: Any, expected: bool) -> None:
    assert has_flag(annotation) is expected


def test_help_has_lower_case_booleans_and_the_models_own_words() -> None:
    text = help_page("p", "D.", Config)
    assert "--resume [{true,false}]" in text
    assert "(default: false)" in text
    assert "Things further down." in text
    assert "molecules a step (default: 64)" in text
    assert "--below.nested" not in text


class Renamed(ConfigModel):
    """Keys that were called otherwise."""

    earlier_keys: ClassVar[dict[str, str]] = {"below": "section", "side_name": "split"}

    split: str = "test"
    section: Below = Field(default_factory=Below)


class WithRenamed(ConfigModel):
    """A section that has them."""

    part: Renamed = Field(default_factory=Renamed)


@pytest.mark.parametrize(
    "flag", ["--part.side-name", "--part.side_name", "--part.split", "--part.side-name=val"]
)
def test_an_earlier_flag_is_taken_for_todays(flag: str) -> None:
    arguments = [flag] if "=" in flag else [flag, "val"]
    assert parse_config(WithRenamed, arguments, prog="p", description="D.").part.split == "val"


def test_earlier_keys_are_read_and_not_written() -> None:
    found = WithRenamed.model_validate({"part": {"side_name": "val", "below": {"clip": 2.0}}})
    assert found.part == Renamed(split="val", section=Below(clip=2.0))
    assert found.model_dump()["part"].keys() == {"split", "section"}
    flags = ["--part.below.clip", "3"]
    assert parse_config(WithRenamed, flags, prog="p", description="D.").part.section.clip == 3.0
    with pytest.raises(InputError, match="a known key; found 'side_name'"):
        validate_values(WithRenamed, {"part": {"side_name": "val", "split": "test"}})


def test_earlier_flags_are_not_in_help() -> None:
    text = help_page("p", "D.", WithRenamed)
    assert "--part.split" in text
    assert "side-name" not in text
    assert "below" not in text


class WithChoice(ConfigModel):
    """A choice that may stand alone, in a section."""

    part: Annotated[Literal["none", "all"], tyro.conf.arg(aliases=["--part"]), Alone("all")] = (
        "none"
    )


class WithSection(ConfigModel):
    """Its section."""

    section: WithChoice = Field(default_factory=WithChoice)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--part", "--part all"),
        ("--part --x", "--part all --x"),
        ("--section.part runs/a", "--section.part all runs/a"),
        ("--part none", "--part none"),
        ("--part TRUE", "--part TRUE"),
        ("--part=none a", "--part=none a"),
    ],
)
def test_a_flag_that_stands_alone_has_its_value(given: str, expected: str) -> None:
    assert with_values(given.split(), WithSection) == expected.split()


def test_values_of_a_repeated_flag_are_gathered() -> None:
    found = parse("--columns", "a", "--name", "x", "--columns=b", "--columns-of", "c", "d")
    assert found.columns == ["a", "b", "c", "d"]
    assert found.name == "x"
    assert parse("--name", "x", "--name", "y").name == "y", "of one value the last counts"


def test_a_mapping_may_be_written_with_equal_signs() -> None:
    found = parse("--below.weights", "a=1", "--below.weights", "b>=c=2.5")
    assert found.below.weights == {"a": 1.0, "b>=c": 2.5}
