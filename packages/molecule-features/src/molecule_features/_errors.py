"""The package's exceptions and warnings."""

from __future__ import annotations


class FeatureError(ValueError):
    """What the caller gave cannot be used; the message says what, where and what would do.

    `exit_code` is what a command that stops on it returns: 2, the input is wrong.
    """

    exit_code = 2


class MissingExtraError(ImportError):
    """A featuriser needs a package that is not installed; the message names the extra."""

    exit_code = 2


class FeatureVersionWarning(UserWarning):
    """Features are computed by another version than those that a model was trained on."""


def missing_extra(featurizer: str, package: str, extra: str) -> MissingExtraError:
    """Return the error of a featuriser whose package is not installed."""
    return MissingExtraError(
        f"features {featurizer!r}: expected the package {package!r}; found it not installed. "
        f"The extra brings it: pip install 'molecule-features[{extra}]'"
    )
