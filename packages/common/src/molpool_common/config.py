"""YAML files to pydantic models and back, with errors that name the key, the line and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from molpool_common.config_errors import input_error
from molpool_common.yaml_document import YamlDocument, read_yaml

ModelT = TypeVar("ModelT", bound=BaseModel)


class ConfigModel(BaseModel):
    """Base of every configuration section: unknown keys are errors, assignments are checked."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


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
