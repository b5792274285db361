"""By time, each origin predicts as far ahead as new molecules will be."""

import numpy as np
from molpool_pipelines.fitting._tabular_rows import farther_rows


def test_origins_predict_blocks_up_to_the_horizon():
    blocks = np.split(np.arange(100), 10)
    folds = [(np.arange(10 * k), blocks[k]) for k in range(5, 10)]
    found = farther_rows(folds, 25)
    # Own block and those whose middle lies within 25 rows: 30 ahead, while there are as many.
    assert [len(rows) for rows in found] == [20, 20, 20, 10, 0]
    assert found[0].tolist() == list(range(60, 80))
    assert all((rows >= train.size).all() for rows, (train, _) in zip(found, folds, strict=True))
    assert [len(rows) for rows in farther_rows(folds, 10)] == [0] * 5
