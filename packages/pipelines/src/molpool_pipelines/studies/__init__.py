"""Studies of hyperparameters: a search space, inner folds, trials, the outer test put away.

`run_study` runs one, or goes on with it; `read_study` reads one; `retrain` trains the best of it on
all rows but the outer test and scores it there. `chemprop_problem` and `mil_problem` say what is
tuned; any other kind of model that makes a `Problem` can be tuned as they are.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
