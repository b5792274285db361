"""What a Parquet file of ours says of itself, and whether it is what was written."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from molpool_common._errors import InputError

KEY = b"molpool"
"""Of our metadata in the schema."""


def parquet_metadata(path: Path) -> dict[str, Any] | None:
    """Return what was written with a table; None where nothing was, or pyarrow is not here.

    Raises
    ------
    InputError
        If it is damaged.
    """
    try:
        found = footer_metadata(path)
        return None if found is None else dict(json.loads(found))
    except ImportError:
        return None
    except (OSError, ValueError, TypeError) as error:
        said = str(error).splitlines()[0]
        raise InputError(path.name, expected="a Parquet file", found=said) from None


def footer_metadata(path: Path) -> bytes | None:
    """Return our metadata of a Parquet file, as it is stored; None where it is not of ours.

    Its footer has no checksum, as its pages have, but says columns and metadata twice: to any
    reader, and to Arrow.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a file of ours says one thing here and another there.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    footer = pq.read_metadata(path)
    said = footer.metadata or {}
    ours = said.get(KEY)
    if (arrow := said.get(b"ARROW:schema")) is None:
        return ours  # rewritten by another program
    try:
        again = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(arrow)))
    except binascii.Error as error:
        raise pa.ArrowInvalid(f"its description for Arrow is damaged: {error}") from None
    theirs = (again.metadata or {}).get(KEY)
    if (ours or theirs) and (ours, footer.schema.to_arrow_schema().names) != (theirs, again.names):
        raise pa.ArrowInvalid("its description of the columns is damaged")
    return ours


def check_pages(path: Path) -> None:
    """Decode the pages of a file, and look at their checksums, which ours have.

    polars does not, and ends the process at some damaged headers, whoever wrote the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f.name for f in pq.read_schema(path) if f.type in (pa.string(), pa.large_string())]
    # As dictionaries, in which repeated texts take no more than in the file.
    with pq.ParquetFile(
        path, pre_buffer=False, page_checksum_verification=True, read_dictionary=texts
    ) as pages:
        for _ in pages.iter_batches():
            pass
