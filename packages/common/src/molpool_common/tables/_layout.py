"""How a text file is laid out: its encoding, separator and header, and whether its lines agree.

One pass over the bytes finds what is not as parsers take for granted. Only then is the file gone
through line by line, to name the lines that are wrong or to write a copy that parsers read.
"""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molpool_common._arrays import BoolArray
from molpool_common._errors import InputError, listed
from molpool_common.tables._files import opened
from molpool_common.tables._formulas import unmarked_text
from molpool_common.tables._records import Mended, cells_of, mend
from molpool_common.tables._settings import ReadConfig

_Bytes = NDArray[np.uint8]

_BLOCK = 1 << 18
"""Bytes looked at together: what is worked out of them stays in the processor's cache."""
_HEAD = 1 << 18
_SEPARATORS = ",;\t|"
_LF, _CR, _QUOTE = 10, 13, 34
_DIGIT = np.isin(np.arange(256), list(b"0123456789"))
_LETTERS, _HIGH = 100, 0.05
"""Number and share of bytes beyond ASCII above which they are letters of a language."""


@dataclass(frozen=True)
class TextLayout:
    """How a text file is to be parsed.

    Parameters
    ----------
    file : Path
        UTF-8 with as many fields in each line as the header has: the table, or a copy.
    encoding : str
        Of the table.
    separator : str
        Between fields.
    names : tuple of str or None
        Of the columns, stripped; None for those that have no name, which are left out.
    header_lines : int
        Lines of `file` before the first row.
    quoted : bool
        Whether cells may stand in double quotes.
    words : tuple of str
        Cells that hold no value, at least those that occur.
    notes : tuple of str
        What the user should know.
    copy : Mended or None
        The copy, which is removed with the last layout that names it.
    """

    file: Path
    encoding: str
    separator: str
    names: tuple[str | None, ...]
    header_lines: int
    quoted: bool
    words: tuple[str, ...]
    notes: tuple[str, ...] = ()
    copy: Mended | None = field(default=None, repr=False, compare=False)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [name for name in self.names if name is not None]


def text_layout(path: Path, read: ReadConfig, key: str, *, rows: bool = True) -> TextLayout:
    """Return how a text file is laid out.

    Parameters
    ----------
    path : Path
        The file, perhaps compressed.
    read : ReadConfig
        What is known of it.
    key : str
        The configuration key that named it, for messages.
    rows : bool
        Whether the rows are looked at too; otherwise only the header may be relied on.

    Raises
    ------
    InputError
        If it is empty, in another encoding, names a column twice, or has lines that do not fit the
        header (naming the lines).
    """
    found = path.stat()
    return _layout(path, read.model_dump_json(), key, rows, (found.st_mtime_ns, found.st_size))


# Header, ids and rows of one table are asked for one after the other.
@lru_cache(maxsize=8)
def _layout(
    path: Path, settings: str, key: str, rows: bool, changed: tuple[int, int]
) -> TextLayout:
    del changed
    read = ReadConfig.model_validate_json(settings)
    with opened(path) as handle:
        head = handle.read(_HEAD)
    _check_head(head, path, key)
    encoding = _encoding(path, head, read, rows=rows)
    quotes = read.quote == "auto"
    text = _decoded_head(head, encoding, path, key)
    lines = _logical_lines(text, quotes=quotes)
    separator = read.separator
    if separator == "auto":
        separator = _sniffed(lines, path, quotes=quotes)
    names, notes = named_columns(_fields(lines[0], separator, quotes=quotes), path.name)
    layout = TextLayout(
        path,
        encoding,
        separator,
        names,
        1 + lines[0].count("\n"),
        quotes,
        read.words,
        tuple(notes),
    )
    return _checked(layout, key) if rows else layout


def _check_head(head: bytes, path: Path, key: str) -> None:
    if not head.strip():
        raise InputError(key, expected="a header and rows", found="an empty file", where=path.name)
    # Its first line would pass for a header.
    if head.lstrip()[:1] in (b"[", b"{"):
        raise InputError(
            key, expected="a table: CSV, Excel, Parquet, SDF", found="JSON", where=path.name
        )


def _decoded_head(head: bytes, encoding: str, path: Path, key: str) -> str:
    # The last character may be cut.
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    if "\0" in text:
        raise InputError(
            key,
            expected="text, or a file whose content says what it is",
            found="bytes of no text",
            where=path.name,
        )
    return text.removeprefix("\ufeff")


# --- encoding ---


def text_encoding(path: Path, read: ReadConfig) -> str:
    """Return the encoding of a text file, all of it looked at."""
    with opened(path) as handle:
        return _encoding(path, handle.read(_HEAD), read, rows=True)


def _encoding(path: Path, head: bytes, read: ReadConfig, *, rows: bool) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if read.encoding != "auto":
        return read.encoding
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Latin text in UTF-16 without a mark: every other byte is zero.
    zeros = np.frombuffer(head[: len(head) // 2 * 2], np.uint8).reshape(-1, 2) == 0
    if len(zeros) and zeros.mean(axis=0).max() > 0.4:
        return "utf-16-le" if zeros[:, 1].mean() > zeros[:, 0].mean() else "utf-16-be"
    sample = _not_utf8(path) if rows else _invalid(head)
    return "utf-8" if sample is None else _single_byte(sample)


def _invalid(head: bytes) -> bytes | None:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return head
    return None


def _not_utf8(path: Path) -> bytes | None:
    """Return the bytes around the first that are no UTF-8; None where there are none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = b""
    try:
        with opened(path) as handle:
            while more := handle.read(_BLOCK):
                block = more
                if np.frombuffer(block, np.uint8).max() > 127 or decoder.getstate()[0]:
                    decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return block
    return None


def _single_byte(sample: bytes) -> str:
    """Return the encoding of text that is no Unicode: cp1252 unless its letters say another."""
    high = np.frombuffer(sample, np.uint8) > 127
    # Of a few signs (µ, °, ±) nothing can be told; Excel and instruments write cp1252.
    if high.sum() > _LETTERS and high.mean() > _HIGH:
        from charset_normalizer import from_bytes

        best = from_bytes(sample[:_HEAD]).best()
        if best is not None and best.language not in ("Unknown", "English"):
            return codecs.lookup(best.encoding).name
    try:
        sample.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


# --- separator and header ---


def _logical_lines(text: str, *, quotes: bool, most: int = 100) -> list[str]:
    """Return the first lines of a text, those in quotes joined; at least the header."""
    lines: list[str] = []
    open_line = ""
    for line in io.StringIO(text, newline=None):
        open_line += line
        # An odd quote that never closes must not join all the lines there are.
        if quotes and open_line.count('"') % 2 and open_line.count("\n") < 20:
            continue
        if open_line.strip("\n"):
            lines.append(open_line.removesuffix("\n"))
        open_line = ""
        if len(lines) == most:
            break
    if len(lines) > 2 and len(lines) < most and not text.endswith("\n"):
        lines.pop()  # cut
    return lines or [open_line.removesuffix("\n")]


def _fields(line: str, separator: str, *, quotes: bool) -> list[str]:
    return cells_of(line, separator)[0] if quotes else line.split(separator)


def _sniffed(lines: list[str], path: Path, *, quotes: bool) -> str:
    """Return the separator that cuts most lines into as many fields as the header."""
    best, found = (0.0, 0, False), ","
    for separator in _SEPARATORS:
        widths = [len(_fields(line, separator, quotes=quotes)) for line in lines]
        if widths[0] < 2:
            continue
        named = separator == ("\t" if ".tsv" in path.suffixes else ",")
        agreeing = sum(width == widths[0] for width in widths[1:]) / max(len(widths) - 1, 1)
        best, found = max((best, found), ((agreeing, widths[0], named), separator))
    return found


def named_columns(header: list[str], where: str) -> tuple[tuple[str | None, ...], list[str]]:
    """Return the names of columns, None for those without one, and what the user should know.

    Raises
    ------
    InputError
        If there is no name, or one stands twice.
    """
    names = [unmarked_text(name.strip()) for name in header]
    notes = []
    padded = [repr(raw) for raw, name in zip(header, names, strict=True) if name != raw and name]
    if padded:
        notes.append(f"Names of columns without the spaces around them: {listed(padded)}.")
    nameless = [i + 1 for i, name in enumerate(names) if not name]
    if len(nameless) == len(names):
        raise InputError("columns", expected="a header line", found="none", where=where)
    if nameless:
        noun = "column" if len(nameless) == 1 else "columns"
        notes.append(f"Not read, as without a name: {noun} {listed(nameless)}.")
    refuse_repeated([name for name in names if name], where)
    return tuple(name or None for name in names), notes


def refuse_repeated(names: list[str], where: str) -> None:
    """Raise `InputError` if two columns have one name."""
    twice = sorted(name for name, n in Counter(names).items() if n > 1)
    if twice:
        raise InputError(
            "columns",
            expected="distinct names",
            found=f"twice {listed([repr(name) for name in twice])}",
            where=where,
        )


# --- lines ---


@dataclass
class _Count:
    lines: int = 0
    separators: int = 0
    quotes: int = 0
    odd: bool = False  # quotes where none can open or close, blank lines, other ends of lines
    words: set[bytes] = field(default_factory=set)


def _checked(layout: TextLayout, key: str) -> TextLayout:
    """Return the layout, of a copy where parsers would misread the file."""
    plain = layout.encoding in ("utf-8", "utf-8-sig")
    count = _counted(layout) if plain else None
    if count is not None and not count.odd:
        expected = (len(layout.names) - 1) * count.lines
        if count.separators == expected:
            if count.quotes:
                return layout
            # A parser compares every cell with every word.
            there = tuple(w for w in layout.words if not w or w.encode() in count.words)
            return replace(layout, quoted=False, words=there)
    return gone_through(layout, key)


def gone_through(layout: TextLayout, key: str) -> TextLayout:
    """Return the layout of a copy that parsers read, the file gone through line by line.

    Raises
    ------
    InputError
        Naming the lines that do not fit the header.
    """
    copy = mend(
        layout.file,
        layout.encoding,
        layout.separator,
        len(layout.names),
        quoted=layout.quoted,
        key=key,
    )
    return replace(
        layout, file=copy.path, quoted=True, notes=(*layout.notes, *copy.notes), copy=copy
    )


def _counted(layout: TextLayout) -> _Count:
    """Count lines and separators outside quotes, a block at a time."""
    count, inside, last = _Count(), False, _LF
    separator = ord(layout.separator)
    words = _Words(layout.words, separator)
    for block in _blocks(layout.file):
        a = np.frombuffer(block, np.uint8)
        quoted = layout.quoted and b'"' in block
        n_quotes = int(np.count_nonzero(a == _QUOTE)) if quoted else 0
        ends, cuts = a == _LF, a == separator
        if n_quotes or inside:
            quote = a == _QUOTE
            outside = np.bitwise_xor.accumulate(quote.view(np.uint8)) == inside
            count.odd |= _misplaced(a, quote, outside, separator, last)
            # A line break in quotes may be a cell's own, or a quote too many.
            count.odd |= bool((ends & ~outside).any())
            inside = not outside[-1]
            ends, cuts = ends & outside, cuts & outside
        count.quotes += n_quotes
        count.separators += int(np.count_nonzero(cuts))
        count.lines += int(np.count_nonzero(ends))
        count.odd |= _blank(a, ends, last, returns=b"\r" in block)
        count.words |= words.there(a, ends | cuts)
        last = int(a[-1])
        if count.odd:
            return count
    count.lines += last != _LF
    count.odd |= inside
    return count


def _blocks(path: Path) -> Iterator[bytes]:
    with opened(path) as handle:
        while block := handle.read(_BLOCK):
            # What follows decides what a quote, a carriage return or the begin of a word is.
            yield block if block.endswith(b"\n") else block + handle.readline()


class _Words:
    """Finds which words occur as whole cells, no quotes around them.

    Parameters
    ----------
    words : sequence of str
        The words.
    separator : int
        Between cells.
    """

    def __init__(self, words: Sequence[str], separator: int) -> None:
        encoded = [word.encode() for word in words if word]
        self._known = set(encoded)
        self._separator = separator
        self._longest = max(map(len, encoded), default=0)
        ends = bytes([separator, _LF, _CR])
        self._first, self._second = np.zeros(256, bool), np.zeros(256, bool)
        self._first[[word[0] for word in encoded]] = True
        self._second[[(word + ends)[1] for word in encoded] + list(ends)] = True
        self._digits = bool((self._first & _DIGIT).any() or (self._second & _DIGIT).any())

    def there(self, block: _Bytes, bounds: BoolArray) -> set[bytes]:
        """Return the words in a block of whole lines, whose cells `bounds` part."""
        at = self._begins(block, bounds)
        at = at[self._first[block[at]]]
        a = np.concatenate([block, np.full(self._longest + 1, _LF, np.uint8)])
        at = at[self._second[a[at + 1]]]
        if not len(at):
            return set()
        cells = a[at[:, None] + np.arange(self._longest + 1)]
        ends = (cells == self._separator) | (cells == _LF) | (cells == _CR)
        whole = ends.any(axis=1)
        cells, ends = cells[whole], ends[whole]
        cells[np.logical_or.accumulate(ends, axis=1)] = 0
        texts = np.ascontiguousarray(cells).view(f"S{self._longest + 1}")
        return self._known & set(np.unique(texts).tolist())

    def _begins(self, block: _Bytes, bounds: BoolArray) -> NDArray[np.intp]:
        """Return where cells begin that may be words: most cells are empty or numbers."""
        if self._digits:
            begins = ~bounds
        else:
            # A digit comes first, or second after a sign; below "0", bytes wrap round.
            other = block - np.uint8(48) > 9
            begins = other > bounds
            begins[:-1] &= other[1:]
        begins[1:] &= bounds[:-1]
        return np.flatnonzero(begins)


def _misplaced(a: _Bytes, quote: BoolArray, outside: BoolArray, sep: int, last: int) -> bool:
    """Return whether a quote opens within a cell, or closes before its end."""
    at = np.flatnonzero(quote)
    before = np.where(at > 0, a[at - 1], last)
    after = a[np.minimum(at + 1, len(a) - 1)]
    after[at == len(a) - 1] = _LF
    opens = ~outside[at]
    bad = opens & ~np.isin(before, (sep, _LF, _CR, _QUOTE))
    # After a byte order mark the first cell may open.
    bad &= before != 0xBF
    bad |= ~opens & ~np.isin(after, (sep, _LF, _CR, _QUOTE))
    return bool(bad.any())


def _blank(a: _Bytes, ends: BoolArray, last: int, *, returns: bool) -> bool:
    """Return whether there is a blank line, or an end of line that is a carriage return alone."""
    if (ends[0] and last == _LF) or (ends[1:] & ends[:-1]).any():
        return True
    if not returns:
        return False
    at = np.flatnonzero(ends)
    before = np.where(at > 0, a[at - 1], last)
    two = np.where(at > 1, a[at - 2], _LF)
    alone = np.count_nonzero(a == _CR) != np.count_nonzero(before == _CR)
    return bool(alone or ((before == _CR) & (two == _LF)).any())
