from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common._config import (
    ConfigModel,
    dump_config,
    load_config,
    read_yaml,
    valid_keys,
    validate_values,
)
from molpool_common._errors import InputError
from pydantic import Field, ValidationError, field_validator, model_validator


class Column(ConfigModel):
    column: str
    factor: float = 1.0


class Source(ConfigModel):
    path: str
    columns: dict[str, str | Column] = Field(default_factory=dict)


class Inner(ConfigModel):
    rate: float = Field(0.1, ge=0, description="a rate")
    mode: Literal["mean", "median"] = "mean"
    window: int | None = None
    flags: list[bool] = Field(default_factory=list)

    @field_validator("rate")
    @classmethod
    def _not_half(cls, rate: float) -> float:
        if rate == 0.5:
            raise ValueError("expected anything but one half")
        return rate


class Root(ConfigModel):
    name: str = "x"
    inner: Inner = Field(default_factory=Inner)
    maybe: Inner | None = None
    sources: list[Source] = Field(default_factory=list)

    @model_validator(mode="after")
    def _no_forbidden(self) -> Root:
        if self.name == "clash":
            raise ValueError("name: expected no clash, found one with 'inner'")
        if self.name == "alone":
            raise ValueError("name: expected no inner beside it")
        if self.name == "odd":
            raise ValueError("the parts do not fit")
        return self


def failure(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(Root, path)
    return str(caught.value)


class TestWords:
    """Every message as a user reads it, whole."""

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "name: a\ninner:\n  rat: 1\n",
                "inner.rat (c.yaml, line 3): expected a known key; found 'rat'. "
                "Did you mean 'rate'?",
            ),
            (
                "zzz: 1\n",
                "zzz (c.yaml, line 1): expected a known key; found 'zzz'. "
                "Valid: 'name', 'inner', 'maybe', 'sources'.",
            ),
            (
                "inner:\n  rate: fast\n",
                "inner.rate (c.yaml, line 2): expected a number; found 'fast'.",
            ),
            (
                "inner:\n  rate: -1\n",
                "inner.rate (c.yaml, line 2): expected a number greater than or equal to 0; "
                "found -1.",
            ),
            (
                "inner:\n  rate: .nan\n",
                "inner.rate (c.yaml, line 2): expected a finite number; found nan.",
            ),
            (
                "inner:\n  rate: 0.5\n",
                "inner.rate (c.yaml, line 2): expected anything but one half; found 0.5.",
            ),
            (
                "inner: {mode: mead}\n",
                "inner.mode (c.yaml, line 1): expected 'mean' or 'median'; found 'mead'. "
                "Did you mean 'mean'?",
            ),
            (
                "inner: {window: 1.5}\n",
                "inner.window (c.yaml, line 1): expected an integer; found 1.5.",
            ),
            (
                "maybe: {rate: no}\nname: [1]\n",
                "name (c.yaml, line 2): expected a string; found [1].",
            ),
            (
                "maybe: {window: w}\n",
                "maybe.window (c.yaml, line 1): expected an integer; found 'w'.",
            ),
            (
                "inner:\n  flags:\n    - true\n    - maybe\n",
                "inner.flags.1 (c.yaml, line 4): expected a boolean; found 'maybe'.",
            ),
            (
                "sources:\n  - path: a\n  - columns: {}\n",
                "sources.1.path (c.yaml, line 3): expected a value; found nothing.",
            ),
            (
                "sources:\n  - path: a\n    columns:\n      LogD: {colum: x}\n",
                "sources.0.columns.LogD.colum (c.yaml, line 4): expected a known key; "
                "found 'colum'. Did you mean 'column'?",
            ),
            (
                "name: clash\n",
                "name (c.yaml): expected no clash; found one with 'inner'.",
            ),
            (
                "name: alone\n",
                "name (c.yaml): expected no inner beside it; found others.",
            ),
            (
                "name: odd\n",
                "Root (c.yaml): expected settings that fit together; found the parts do not fit.",
            ),
        ],
    )
    def test_message(self, tmp_path: Path, text: str, message: str) -> None:
        said = failure(tmp_path, text)
        assert said.split(" Also wrong: ")[0] == message

    def test_others_are_counted(self, tmp_path: Path) -> None:
        said = failure(tmp_path, "inner: {rate: x, window: y}\nnames: z\n")
        assert said.startswith("names (c.yaml, line 2): expected a known key")
        assert said.endswith("Also wrong: inner.rate, inner.window.")

    def test_long_values_are_cut(self, tmp_path: Path) -> None:
        assert len(failure(tmp_path, f"inner: {{rate: {'x' * 5000}}}\n")) < 400

    def test_values_of_flags_have_no_line(self) -> None:
        with pytest.raises(InputError, match=r"^inner\.rate: expected a number; found 'x'\.$"):
            validate_values(Root, {"inner": {"rate": "x"}})


class TestYaml:
    def test_key_given_twice(self, tmp_path: Path) -> None:
        said = failure(tmp_path, "inner:\n  rate: 1\n  mode: mean\n  rate: 2\n")
        assert said == "inner.rate (c.yaml): expected each key once; found it on lines 2 and 4."

    def test_syntax_names_the_line(self, tmp_path: Path) -> None:
        said = failure(tmp_path, "name: a\ninner: {rate: 1\nmaybe: null\n")
        assert said.startswith("--config (c.yaml, line 3): expected valid YAML; found ")

    def test_tab(self, tmp_path: Path) -> None:
        assert "(c.yaml, line 2): expected valid YAML" in failure(tmp_path, "inner:\n\trate: 1\n")

    @pytest.mark.parametrize(("text", "kind"), [("- 1\n", "list"), ("just text\n", "str")])
    def test_no_mapping(self, tmp_path: Path, text: str, kind: str) -> None:
        assert f"expected a YAML mapping of keys to values; found a {kind}." in failure(
            tmp_path, text
        )

    def test_python_objects_are_refused(self, tmp_path: Path) -> None:
        said = failure(tmp_path, "name: !!python/object/apply:os.getcwd []\n")
        assert "expected valid YAML" in said

    @pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
    def test_empty_file_is_all_defaults(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        assert load_config(Root, path) == Root()

    def test_missing_file_names_a_similar_one(self, tmp_path: Path) -> None:
        (tmp_path / "quickstart.yaml").touch()
        with pytest.raises(InputError, match=r"no file .*Did you mean 'quickstart\.yaml'\?"):
            read_yaml(tmp_path / "quikstart.yaml")

    def test_merged_keys_are_no_repeated_ones(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("base: &a {x: 1, y: 2}\nmore:\n  <<: *a\n  x: 3\n")
        document = read_yaml(path)
        assert document.data["more"] == {"x": 3, "y": 2}
        assert document.lines[("more", "x")] == 4

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected an existing file; found the folder"):
            read_yaml(tmp_path)

    def test_other_encoding(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_bytes("name: é".encode("latin-1"))
        with pytest.raises(InputError, match="expected a readable UTF-8 text file"):
            read_yaml(tmp_path / "c.yaml")

    def test_anchors_are_followed(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("inner: &i {rate: 0.25}\nmaybe: *i\n")
        assert load_config(Root, path).maybe == Inner(rate=0.25)

    def test_lines_of_nested_keys_and_items(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("a:\n  b:\n    - x\n    - c: 1\n")
        document = read_yaml(path)
        assert document.lines == {
            ("a",): 1,
            ("a", "b"): 2,
            ("a", "b", 0): 3,
            ("a", "b", 1): 4,
            ("a", "b", 1, "c"): 4,
        }
        assert document.where(("a", "b", 1, "absent")) == "c.yaml, line 4"
        assert document.where(("absent",)) == "c.yaml"


class TestModel:
    def test_assignment_is_checked(self) -> None:
        config = Root()
        with pytest.raises(ValidationError):
            config.inner.rate = -1

    def test_valid_keys_at_every_depth(self) -> None:
        assert valid_keys(Root, ()) == ["name", "inner", "maybe", "sources"]
        assert valid_keys(Root, ("inner",)) == ["rate", "mode", "window", "flags"]
        assert valid_keys(Root, ("maybe",)) == ["rate", "mode", "window", "flags"]
        assert valid_keys(Root, ("sources", 0)) == ["path", "columns"]
        assert valid_keys(Root, ("sources", 0, "columns", "LogD")) == ["column", "factor"]
        assert valid_keys(Root, ("sources", 0, "columns")) == []
        assert valid_keys(Root, ("nowhere", "below")) == []


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
INNER = st.builds(
    Inner,
    rate=st.floats(0, 1e300).filter(lambda x: x != 0.5),
    mode=st.sampled_from(["mean", "median"]),
    window=st.none() | st.integers(),
    flags=st.lists(st.booleans(), max_size=3),
)
SOURCE = st.builds(
    Source, path=TEXT, columns=st.dictionaries(TEXT, TEXT | st.builds(Column, column=TEXT))
)
ROOT = st.builds(
    Root,
    name=TEXT.filter(lambda t: t not in {"clash", "odd"}),
    inner=INNER,
    maybe=st.none() | INNER,
    sources=st.lists(SOURCE, max_size=2),
)


@given(ROOT)
def test_what_is_dumped_loads_to_an_equal_model(
    tmp_path_factory: pytest.TempPathFactory, config: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(Root, path) == config


def test_dump_keeps_the_order_of_the_keys() -> None:
    lines = dump_config(Root()).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "name: x",
        "inner:",
        "maybe: null",
        "sources: []",
    ]
