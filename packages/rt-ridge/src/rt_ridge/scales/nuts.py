"""No-U-turn sampling of the scales (`nuts`) by nutpie; locations are integrated exactly.

Hoffman & Gelman 2014, https://jmlr.org/papers/v15/hoffman14a.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from molpool_common import FloatArray

from rt_ridge.hierarchy import Hierarchy
from rt_ridge.inference_data import import_arviz
from rt_ridge.scales.posterior import ScalePosterior, weighted_interval
from rt_ridge.scales.whitening import Whitening

MAX_R_HAT = 1.01
MIN_ESS = 400.0
WHITE_DEPTH, DEPTH = 2, 8
"""Doublings of a trajectory: three steps cross a standard normal about a quarter turn."""
MAX_LIKELIHOODS = 200
"""Draws at which the log likelihood is evaluated again for its mean."""


def find_nuts(hierarchy: Hierarchy) -> ScalePosterior:
    """Sample; `diagnostics` holds the largest R-hat, the least effective size, the divergences.

    Notes
    -----
    Chains start at random about the mode, in coordinates whitened there, so that short
    trajectories and a short warm-up do.
    """
    whitening = Whitening.at_mode(hierarchy)
    found = _sample(whitening, hierarchy.config.seed)
    phi = whitening.phi(np.asarray(found.posterior["u"]))
    chains = np.concatenate(
        [np.exp(phi[..., : hierarchy.layout.n_free]), phi[..., hierarchy.layout.n_free :]], axis=-1
    )
    points = chains.reshape(-1, chains.shape[-1])
    trace = _trace(hierarchy, chains, found.sample_stats)
    diagnostics = _diagnostics(trace, found.sample_stats)
    weights = np.full(len(points), 1 / len(points))
    low, high = weighted_interval(points, weights)
    step = max(1, len(points) // MAX_LIKELIHOODS)
    likelihood = [hierarchy.state(point).log_likelihood for point in points[::step]]
    return ScalePosterior(
        names=hierarchy.layout.names,
        points=points,
        weights=weights,
        low=low,
        high=high,
        log_likelihood=float(np.mean(likelihood)),
        diagnostics=diagnostics,
        notes=(*hierarchy.structure.notes, *_warnings(diagnostics)),
        trace=trace,
    )


def _sample(whitening: Whitening, seed: int) -> Any:
    """Run the chains side by side; they share the interpreter, which numpy leaves to itself."""
    import_arviz()
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    sampling = whitening.hierarchy.config.sampling
    size = whitening.hierarchy.layout.size

    def make_log_density() -> Callable[[FloatArray], tuple[float, FloatArray]]:
        return whitening.log_density

    def make_expand(*_: int) -> Callable[[FloatArray], dict[str, FloatArray]]:
        return lambda u: {"u": u.copy()}

    model = from_pyfunc(
        size,
        make_log_density,
        make_expand,
        [np.dtype("float64")],
        [(size,)],
        ["u"],
        make_initial_point_fn=lambda start: np.random.default_rng(start).normal(size=size),
    )
    return nutpie.sample(
        model,
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=sampling.chains,
        seed=seed,
        target_accept=sampling.target_accept,
        maxdepth=sampling.max_depth or (WHITE_DEPTH if whitening.complete else DEPTH),
        save_warmup=False,
        progress_bar=False,
    )


def _trace(hierarchy: Hierarchy, chains: FloatArray, stats: Any) -> Any:
    """Return an InferenceData with one variable a scale."""
    arviz = import_arviz()
    draws = {name: chains[:, :, j] for j, name in enumerate(hierarchy.layout.names)}
    kept = {name: np.asarray(stats[name]) for name in ("diverging", "n_steps", "energy")}
    return arviz.from_dict(posterior=draws, sample_stats=kept)


def _diagnostics(trace: Any, stats: Any) -> dict[str, float]:
    arviz = import_arviz()
    r_hat, ess = arviz.rhat(trace), arviz.ess(trace)
    return {
        "r_hat": max(float(r_hat[name]) for name in r_hat),
        "ess": min(float(ess[name]) for name in ess),
        "divergences": float(np.asarray(stats["diverging"]).sum()),
        "steps": float(np.asarray(stats["n_steps"]).mean()),
    }


def _warnings(diagnostics: dict[str, float]) -> list[str]:
    notes = []
    if not diagnostics["r_hat"] < MAX_R_HAT:
        notes.append(f"nuts: R-hat {diagnostics['r_hat']:.3f}, expected below {MAX_R_HAT}")
    if not diagnostics["ess"] > MIN_ESS:
        notes.append(f"nuts: {diagnostics['ess']:.0f} effective draws, expected over {MIN_ESS:.0f}")
    if diagnostics["divergences"]:
        notes.append(f"nuts: {diagnostics['divergences']:.0f} divergences")
    return notes
