"""A run that is killed: a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mil_attn._config import ConformerConfig, Descriptors2DConfig, MoleculeFeaturesConfig
from mil_attn.data import _feature_cache as kept

FEATURES = MoleculeFeaturesConfig(
    conformers=ConformerConfig(count=3),
    descriptors_3d=["usrcat"],
    descriptors_2d=Descriptors2DConfig(descriptors=False, morgan_bits=16),
)


def killed(folder: Path) -> None:
    """End without a word once all but the last two molecules are computed."""
    from mil_attn import BagData

    def stop(stage: str, done: int, _: int) -> None:
        if stage == "conformers" and done >= 8:
            os._exit(9)

    kept.CHUNK = 4  # pyrefly: ignore[bad-assignment]
    smiles = [f"{'C' * (i + 1)}O" for i in range(12)]
    BagData.from_smiles(smiles, features=FEATURES, cache=folder, progress=stop)


if __name__ == "__main__":
    killed(Path(sys.argv[1]))
