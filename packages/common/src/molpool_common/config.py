"""YAML files to pydantic models and back, with errors that name the key, the line and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from molpool_common.config_errors import input_error
from molpool_common.yaml_document import YamlDocument, read_yaml

__all__ = [
    "ConfigModel",
    "YamlDocument",
    "dump_config",
    "load_config",
    "read_yaml",
    "validate_config",
    "validate_values",
]

ModelT = TypeVar("ModelT", bound=BaseModel)


class ConfigModel(BaseModel):
    """Base of every configuration section: unknown keys are errors, assignments are checked.

    Attributes
    ----------
    earlier_keys : mapping of str to str
        Names that keys had in earlier versions, with today's. Files and flags may use them; help
        and written files do not.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)
    earlier_keys: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _with_todays_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or cls.earlier_keys.keys().isdisjoint(values):
            return values
        # One that stands beside today's name keeps its own, and is then an unknown key.
        return {
            new if (new := cls.earlier_keys.get(key, key)) not in values else key: value
            for key, value in values.items()
        }


def load_config(model: type[ModelT], path: str | Path) -> ModelT:
    """Read a YAML file into a configuration model.

    Parameters
    ----------
    model : type of BaseModel
        The section to fill.
    path : str or Path
        The YAML file.

    Returns
    -------
    BaseModel
        An instance of `model`.

    Raises
    ------
    InputError
        Naming the key, its line, what was expected and found, and for an unknown key the nearest
        valid one.
    """
    return validate_config(model, read_yaml(path))


def validate_config(model: type[ModelT], document: YamlDocument) -> ModelT:
    """Validate an already parsed document; see `load_config`."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise input_error(error, model, document) from None


def validate_values(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """Validate values that came from flags; see `load_config`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise input_error(error, model, YamlDocument(dict(values), "")) from None


def dump_config(config: BaseModel) -> str:
    """Return the YAML text that `load_config` reads back to an equal model."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )
