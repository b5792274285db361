"""The section ``read`` of every command that reads a table: what is not left to be found out."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator

from molpool_common._config import ConfigModel
from molpool_common._input_files import EXPANSION

IdSpelling = Literal["auto", "text", "number"]
"""How ids are told apart: by what columns say, as written, or by the number that they are."""

ScaleName = Literal["none", "log10", "log10p1", "asinh", "logit"]
"""Scale on which a model learns a target; `molpool_common._scales` has the functions."""

MISSING = (
    *("", "NA", "N/A", "NaN", "nan", "null", "None", "n/a", "n.a.", "N.A.", "<NA>", "NULL", "NAN"),
    *("-", "--", "\N{EN DASH}", "\N{EM DASH}", "n.d.", "N.D.", "n.d", "nd", "ND"),
    *("#N/A", "#NA", "#NV", "#DIV/0!", "#VALUE!", "#WERT!", "#REF!", "#BEZUG!", "#NAME?"),
    *("#NUM!", "#ZAHL!", "#NULL!"),
)
"""How a missing value may be written in a text file or a worksheet."""

_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}


class ReadConfig(ConfigModel):
    """How tables are read, where what their content says is to be overruled."""

    separator: str = Field(
        "auto",
        description="of the columns of a text file: a character, or comma, semicolon, tab, pipe; "
        "auto: what cuts its lines alike",
    )
    decimal: Literal["auto", ".", ","] = Field(
        "auto", description="decimal mark; auto: what each column says, or else the other columns"
    )
    encoding: str = Field(
        "auto",
        description="of a text file, as cp1252; auto: UTF-8 or UTF-16, else cp1252 or what its "
        "letters suggest",
    )
    quote: Literal["auto", "none"] = Field(
        "auto", description="none: double quotes in a text file are characters like others"
    )
    sheet: str | None = Field(
        None, description="sheet of an Excel file; by default the only one that has rows"
    )
    missing: list[str] | None = Field(
        None,
        description="how missing values are written besides empty cells; by default NA, N/A, n.d., "
        "nan, null, None, a dash, the errors of Excel and their like",
    )
    expansion: float = Field(
        EXPANSION,
        ge=1,
        description="how many times its size a compressed file (gzip, zstd, Excel, Parquet) may "
        "take when it is read; below 128 MB any may",
    )

    @field_validator("separator")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = _SEPARATORS.get(value, value)
        if value != "auto" and (len(value) != 1 or not value.isascii() or value in '"\r\n'):
            raise ValueError(
                f"expected auto, one character, or one of {', '.join(_SEPARATORS)}; found {value!r}"
            )
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            # Raises for codecs that make no text, such as hex, which `lookup` knows too.
            "".encode("utf-8" if value == "auto" else value)
            return value if value == "auto" else codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"expected auto or an encoding; found {value!r}") from None

    @property
    def words(self) -> tuple[str, ...]:
        """Cells that hold no value."""
        return MISSING if self.missing is None else ("", *self.missing)

    def flags(self) -> list[str]:
        """Return what to type on a command line for what is not left to be found out."""
        given: list[str] = []
        for name, value in self.model_dump(exclude_defaults=True).items():
            words = value if isinstance(value, list) else [value]
            given += [f"--read.{name}", *words]
        return given
