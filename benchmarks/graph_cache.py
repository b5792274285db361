"""Claim: with molecules in the cache, a start on 100 000 of them is at least 10 times faster.

A start is what `molpool-train chemprop` does between its imports and its first step: read the
table, check SMILES, find InChIKeys and masses, split, featurise. Two processes run it one after
the other on one empty cache folder. Imports are left out of both; the seconds that it takes to
build each batch of 64 once are shown beside. The molecules are ADMET sets of the registry and, up
to 100 000, the same with one more methyl group. Exit status 1 below the bar. Chemprop's featuriser
alone, on 2 000 of the molecules, is shown for comparison.

Physical limit: the second start reads some 15 MB of packed graphs and 4 MB of keys, and hashes the
SMILES; at 1 GB/s that is some hundredths of a second.

    uv run python benchmarks/graph_cache.py [MOLECULES]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from claims import Claim, settle
from molpool_pipelines.datasets import locate
from rdkit import Chem, RDLogger

BAR = 10
MOLECULES = 100_000
TABLES = (
    ("expansionrx", "SMILES"),
    ("biogen", "SMILES"),
    ("aqsoldb", "SMILES"),
)


def main() -> int:
    if sys.argv[1:2] == ["start"]:
        print(json.dumps(start(Path(sys.argv[2]), Path(sys.argv[3]))))
        return 0
    n = int(sys.argv[1]) if len(sys.argv) > 1 else MOLECULES
    with tempfile.TemporaryDirectory() as scratch:
        table, cache = Path(scratch) / "table.csv", Path(scratch) / "cache"
        smiles = molecules(n)
        labels = np.random.default_rng(0).normal(size=len(smiles))
        pl.DataFrame({"SMILES": smiles, "y": labels}).write_csv(table)
        first, second = run(table, cache), run(table, cache)
        size = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file())
    for name, done in (("first", first), ("second", second)):
        print(
            f"{name:<7}{done['seconds']:7.2f} s  (table {done['table']:.2f}, "
            f"graphs {done['graphs']:.2f}, batches {done['batches']:.2f}; "
            f"{done['misses']:,} featurised), peak memory {done['peak'] / 2**20:.0f} MiB, "
            f"{done['grown'] / 2**20:.0f} MiB of it since the imports"
        )
    print(f"{len(smiles):,} molecules; {done['nbytes'] / len(smiles):.0f} bytes each in memory,")
    print(f"{size / len(smiles):.0f} bytes each on disk")
    print(f"chemprop featurises alone in {chemprop_seconds(smiles):.1f} s, from 2 000 of them")
    ratio = first["seconds"] / second["seconds"]
    second_s, first_s = f"{second['seconds']:.2f} s", f"{first['seconds']:.2f} s"
    return settle(
        Claim("start with the cache, against without", ratio, BAR, ours=second_s, peer=first_s)
    )


def start(table: Path, cache: Path) -> dict[str, float]:
    """Make a start in this process and return its seconds and bytes."""
    from chemprop_multitask import BatchLoader, GraphStore, MoleculeData
    from molpool_common import validate_values
    from molpool_pipelines.tables import DataConfig, load_molecules, split_table

    values = {"target_columns": ["y"], "cache_dir": str(cache)}
    config = validate_values(DataConfig, values)
    before, began = peak(), perf_counter()
    sides = split_table(read := load_molecules(config, str(table)), config, 0)
    split_done = perf_counter()
    store = GraphStore(cache)
    store.graphs(read.smiles)
    data = [
        MoleculeData(side.smiles, side.targets, task_names=("y",), cache=store)
        for side in (sides.train, sides.val, sides.test)
    ]
    packed = perf_counter()
    for part in data:
        for _ in BatchLoader(part, 64):
            pass
    done = perf_counter()
    return {
        "seconds": packed - began,
        "table": split_done - began,
        "graphs": packed - split_done,
        "batches": done - packed,
        "misses": store.misses,
        "nbytes": sum(part.graphs.nbytes for part in data),
        "peak": peak(),
        "grown": peak() - before,
    }


def peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def run(table: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "start", str(table), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def molecules(n: int) -> list[str]:
    """Return n different SMILES: those of the registry, and the same with methyl groups added."""
    RDLogger.DisableLog("rdApp.*")  # pyrefly: ignore[missing-attribute]
    known: dict[str, None] = {}
    for name, column in TABLES:
        known |= dict.fromkeys(pl.read_csv(locate(name), infer_schema=False)[column].drop_nulls())
    found = {s: None for s in known if Chem.MolFromSmiles(s) is not None}
    methyl = Chem.MolFromSmarts("[#6;h:1]")
    for smiles in list(found):
        mol = Chem.MolFromSmiles(smiles)
        for (atom,) in mol.GetSubstructMatches(methyl):
            if len(found) >= n:
                return list(found)[:n]
            grown = Chem.RWMol(mol)
            grown.AddBond(atom, grown.AddAtom(Chem.Atom(6)), Chem.BondType.SINGLE)
            centre = grown.GetAtomWithIdx(atom)
            if centre.GetNumExplicitHs():
                centre.SetNumExplicitHs(centre.GetNumExplicitHs() - 1)
            text = Chem.MolToSmiles(grown)
            if Chem.MolFromSmiles(text) is not None:
                found[text] = None
    return list(found)[:n]


def chemprop_seconds(smiles: list[str], n: int = 2000) -> float:
    from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer

    featurise = SimpleMoleculeMolGraphFeaturizer()
    mols = [Chem.MolFromSmiles(s) for s in smiles[:: max(1, len(smiles) // n)]]
    began = perf_counter()
    for mol in mols:
        featurise(mol)
    return (perf_counter() - began) / len(mols) * len(smiles)


if __name__ == "__main__":
    sys.exit(main())
