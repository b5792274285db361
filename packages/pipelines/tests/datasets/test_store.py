from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from molpool_common import InputError
from molpool_pipelines.datasets import Dataset, cache_folder, data_folders, locate

Put = Callable[..., Path]


def test_the_environment_comes_before_the_cache(
    toy: Dataset, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = put(cache_folder(), "first.csv")
    assert locate("toy") == cached
    named = put(tmp_path / "named", "first.csv")
    monkeypatch.setenv("MOLPOOL_DATA", str(tmp_path / "named"))
    assert locate("toy", "first.csv") == named


def test_the_folders_of_the_environment_are_searched_in_order(
    toy: Dataset, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLPOOL_DATA", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    second = put(tmp_path / "b", "first.csv")
    assert locate("toy") == second
    first = put(tmp_path / "a", "first.csv")
    assert locate("toy") == first
    assert data_folders() == [tmp_path / "a", tmp_path / "b"]


def test_a_relative_cache_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "molpool" / "data"


def test_an_absent_file_says_how_to_get_it(toy: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        locate("toy")
    text = str(caught.value)
    assert "admet/toy/first.csv" in text
    assert str(tmp_path / "cache") in text
    assert "MOLPOOL_DATA is not set" in text
    assert "molpool-data fetch toy" in text


def test_an_absent_derived_file_says_that_no_address_has_it(toy: Dataset) -> None:
    with pytest.raises(InputError, match="No public address carries it: rows sorted") as caught:
        locate("toy", "second.csv")
    assert "https://github.com/owner/repo/tree/0123abc/data/second.csv" in str(caught.value)
    assert "fetch toy" not in str(caught.value)


def test_a_file_of_another_size_is_refused(toy: Dataset, put: Put) -> None:
    put(cache_folder(), "first.csv", b"SMILES,y\n")
    with pytest.raises(InputError, match="expected 15 bytes; found 9 bytes"):
        locate("toy")


def test_a_changed_file_is_refused_with_both_checksums(toy: Dataset, put: Put) -> None:
    changed = b"SMILES,y\nCCO,2\n"
    put(cache_folder(), "first.csv", changed)
    with pytest.raises(InputError) as caught:
        locate("toy")
    assert toy.files[0].sha256 in str(caught.value)
    assert hashlib.sha256(changed).hexdigest() in str(caught.value)


def test_a_file_is_hashed_once_until_it_changes(
    toy: Dataset, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(cache_folder(), "first.csv")
    calls: list[str] = []
    real = hashlib.file_digest

    def counted(stream: object, name: str) -> object:
        calls.append(name)
        return real(stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    locate("toy")
    locate("toy")
    assert calls == ["sha256"]
    put(cache_folder(), "first.csv", b"SMILES,y\nCCO,2\n")
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))
    with pytest.raises(InputError):
        locate("toy")
    assert len(calls) == 2


@pytest.mark.parametrize(("name", "hint"), [("toi", "'toy'"), ("zzz", "Valid: 'toy'")])
def test_an_unknown_name_gets_the_nearest(toy: Dataset, name: str, hint: str) -> None:
    with pytest.raises(InputError, match="data set: expected a name") as caught:
        locate(name)
    assert hint in str(caught.value)


def test_an_unknown_file_gets_the_nearest(toy: Dataset) -> None:
    with pytest.raises(InputError, match=r"found 'frist\.csv'.*Did you mean 'first\.csv'"):
        locate("toy", "frist.csv")
