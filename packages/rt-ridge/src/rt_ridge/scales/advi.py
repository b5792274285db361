"""Automatic differentiation variational inference of the scales (`advi`) by PyMC.

Kucukelbir et al. 2017, https://jmlr.org/papers/v18/16-107.html.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rt_ridge.hierarchy import Hierarchy
from rt_ridge.inference_data import import_arviz
from rt_ridge.scales.posterior import ScalePosterior, weighted_interval
from rt_ridge.scales.whitening import Whitening

LEARNING_RATE = 0.01
"""Of Adam: coordinates are whitened, so that a step is a hundredth of a standard deviation."""
LAST = 0.1
"""Share of the steps over which the evidence bound is averaged for the diagnostics."""


def find_advi(hierarchy: Hierarchy) -> ScalePosterior:
    """Fit a normal with independent coordinates, whitened at the mode, and draw from it."""
    import_arviz()
    import pymc as pm

    sampling, seed = hierarchy.config.sampling, hierarchy.config.seed
    whitening = Whitening.at_mode(hierarchy)
    with build_model(whitening):
        approximation = pm.fit(
            n=sampling.advi_steps,
            method="advi",
            random_seed=seed,
            progressbar=False,
            obj_optimizer=pm.adam(learning_rate=LEARNING_RATE),
        )
        found = approximation.sample(sampling.draws, random_seed=seed)
    u = np.asarray(found.posterior["u"])[0]
    points = np.array([hierarchy.natural(phi) for phi in whitening.phi(u)])
    weights = np.full(len(points), 1 / len(points))
    low, high = weighted_interval(points, weights)
    likelihood = [hierarchy.state(point).log_likelihood for point in points]
    last = approximation.hist[-max(1, int(LAST * sampling.advi_steps)) :]
    return ScalePosterior(
        names=hierarchy.layout.names,
        points=points,
        weights=weights,
        low=low,
        high=high,
        log_likelihood=float(np.mean(likelihood)),
        diagnostics={"elbo": -float(np.mean(last)), "steps": float(sampling.advi_steps)},
        notes=tuple(hierarchy.structure.notes),
    )


def build_model(whitening: Whitening) -> Any:
    """Return a PyMC model of the whitened coordinates, its density a Potential.

    Parameters
    ----------
    whitening : Whitening
        Its log density and gradient are those of the model.
    """
    import pymc as pm
    from pytensor import tensor as pt
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class LogDensity(Op):  # type: ignore[misc]
        """Value and gradient at once: the gradient of the value needs no second evaluation."""

        def make_node(self, u: Any) -> Any:
            return Apply(self, [pt.as_tensor_variable(u)], [pt.dscalar(), pt.dvector()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            value, gradient = whitening.log_density(np.asarray(inputs[0]))
            output_storage[0][0] = np.asarray(value)
            output_storage[1][0] = gradient

        def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
            return [cotangents[0] * outputs[1]]

        # The same under the name that PyTensor 2 knows.
        L_op = pullback

    with pm.Model() as model:
        u = pm.Flat("u", shape=whitening.hierarchy.layout.size)
        pm.Potential("log_density", LogDensity()(u)[0])
    return model
