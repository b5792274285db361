"""A script as a user writes it, without a guard, and a molecule that takes longer than it may."""

import sys

import numpy as np
from molecule_features import featurize, register
from slow import Slow  # pyrefly: ignore[missing-import]

sys.stdout.write("started\n")
register("slow", Slow)
texts = ["C" * n + "O" for n in range(1, 21)]
found = featurize(texts, "slow", cache=None, workers=2, max_seconds=2)
at = texts.index("CCCCCCCCO")
rest = np.delete(found.values[:, 0], at)
sys.stdout.write(f"{rest.tolist() == [len(t) for t in texts if t != texts[at]]}\n")
sys.stdout.write(f"{found.reasons[at]}\n")
