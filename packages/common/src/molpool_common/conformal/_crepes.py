"""The names of crepes that this package uses, imported without what other parts of it need.

Import it where it is used: it takes a third of a second all the same.
"""

from molpool_common._put_off import put_off

with put_off("pandas", "scipy.stats", "sklearn.neighbors", "sklearn.preprocessing"):
    from crepes import ConformalClassifier as ConformalClassifier
    from crepes import ConformalRegressor as ConformalRegressor
