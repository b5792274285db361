"""What may be written down of an address: a password or a token in it is nobody else's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

# A password that is not quoted may hold any sign; it ends at the last @ of the word.
_USER_INFO = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s:@/?#'"]*)(?::[^\s'"]*)?@""", re.IGNORECASE
)
_PARAMETER = re.compile(
    r"""(?<=[?&])[\w.-]*(?:password|passwd|pwd|passphrase|token|secret|api_?key|access_?key|
    credential|signature)[\w.-]*=[^\s&#'"]*&?""",
    re.IGNORECASE | re.VERBOSE,
)
_END_OF_QUERY = re.compile(r"""[?&](?=$|[\s#'"])""")


def without_secrets(value: T) -> T:
    """Return a value as it may be shown and stored: addresses without passwords and tokens.

    ``postgresql://ann:pw@host/db?sslpassword=x&a=1`` becomes ``postgresql://ann@host/db?a=1``,
    which still says where it is. The user of a web address may be a token, and goes too.

    Parameters
    ----------
    value : object
        Text with addresses in it, or a mapping or sequence of such; all else stays as it is.
    """
    if isinstance(value, str):
        return _text(value)  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {key: without_secrets(part) for key, part in value.items()}  # type: ignore[return-value]
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [without_secrets(part) for part in value]  # type: ignore[return-value]
    return value


def _text(text: str) -> str:
    if "://" not in text:
        return text
    text = _USER_INFO.sub(_without_password, text)
    shorter = _PARAMETER.sub("", text)
    return text if shorter == text else _END_OF_QUERY.sub("", shorter)


def _without_password(found: re.Match[str]) -> str:
    scheme = found["scheme"]
    return scheme if scheme.lower().startswith("http") else f"{scheme}{found['user']}@"
