"""Claim: with conformers and descriptors in the cache, a start is at least 100 times faster.

`BagData.from_smiles` makes conformers (ETKDGv3, MMFF94, pruning), their 3D descriptors, RDKit's 2D
descriptors and Morgan counts of drug-like molecules of the registry: once in this process, once in
two processes, each on an empty folder, and then again on the folder that is full. The peer is the
same work in one process: how many conformers a second two processes make of it is shown first. The
features must be equal to the last bit. Exit status 1 below the bar of the cache.

Physical limits: two processes, 2.0 on two cores that have nothing else to do, less their start; the
full folder, the reading of some 20 kB a molecule and its checksum, some milliseconds in all.

    uv run python benchmarks/mil_descriptors.py [MOLECULES]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from claims import Claim, settle
from featurise import molecules
from mil_attn import ConformerConfig, MoleculeFeaturesConfig

BAR = 100
MOLECULES = 120
FEATURES = MoleculeFeaturesConfig(conformers=ConformerConfig(count=10))

# Spawned processes import this file once more: what they do not need is imported in functions.
if TYPE_CHECKING:
    from mil_attn import BagData


def main() -> int:
    import numpy as np

    n = int(sys.argv[1]) if len(sys.argv) > 1 else MOLECULES
    smiles = molecules(n)
    timed(["CCO"], None, 1)  # RDKit's imports are no part of it
    with tempfile.TemporaryDirectory() as scratch:
        one, first = timed(smiles, Path(scratch) / "one", 1)
        two, second = timed(smiles, Path(scratch) / "two", 2)
        hits = [timed(smiles, Path(scratch) / "one", 1) for _ in range(3)]
        size = sum(f.stat().st_size for f in Path(scratch, "one").rglob("*") if f.is_file())
    for other in (two, *(data for data, _ in hits)):
        for name in ("instances", "x2d", "energies", "offsets"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
    made = FEATURES.conformers.count * len(smiles)
    hit = min(seconds for _, seconds in hits)
    print(f"{len(smiles)} molecules, {made} conformers embedded, {one.n_instances} kept,")
    print(
        f"{len(one.failures)} molecules without any; {size / len(smiles) / 1e3:.0f} kB each on disk"
    )
    print(f"one process    {first:8.2f} s  {made / first:7.1f} conformers a second")
    print(f"two processes  {second:8.2f} s  {made / second:7.1f} conformers a second")
    print(f"from the cache {hit:8.4f} s")
    print(f"two processes are {first / second:.2f} times as fast as one (2.0 is all there is)")
    cached, computed = f"{hit:.4f} s", f"{first:.2f} s"
    return settle(
        Claim("start with the cache, against without", first / hit, BAR, ours=cached, peer=computed)
    )


def timed(smiles: list[str], cache: Path | None, workers: int) -> tuple[BagData, float]:
    """Return the bags and the seconds that they took."""
    from mil_attn import BagData

    began = perf_counter()
    data = BagData.from_smiles(smiles, features=FEATURES, cache=cache, workers=workers)
    return data, perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
