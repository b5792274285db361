"""Methods that sample the scales: `nuts` by nutpie and `advi` by PyMC, and ArviZ for all methods.

Locations are integrated exactly, so that only the few log scales are sampled: by the no-U-turn
sampler (Hoffman & Gelman 2014, https://jmlr.org/papers/v15/hoffman14a.html), or by automatic
differentiation variational inference (Kucukelbir et al. 2017,
https://jmlr.org/papers/v18/16-107.html). The three libraries come with the extra ``sampling``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from time import thread_time
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge._config import SamplingConfig
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.scales._whitening import Whitening

MAX_R_HAT, APART = 1.01, 1.05
"""R-hat below which chains agree, and from which on they have not met."""
MIN_ESS = 400.0
WHITE_DEPTH, DEPTH = 2, 8
"""Doublings of a trajectory: three steps cross a standard normal about a quarter turn. Seven gave
.18 effective draws a gradient where three gave .25, and R-hat over 1.01 three times in eight."""
WORTH_THREADS = 0.005
"""Seconds of a gradient from which on chains run side by side: shorter ones are mostly Python, and
chains that hand the interpreter to each other wait longer than they work."""

MAX_LIKELIHOODS = 64
"""Draws at which the log likelihood is evaluated again for its mean."""
JOINED = 2
"""Times that as many chains join those whose draws are too few."""
REPEATS = ((300, 0.8, 4), (500, 0.95, DEPTH))
"""Warm-up, acceptance and doublings: of a first repeat, where more chains of short trajectories
would not do or some diverge, and of a second, where that holds of the first."""
MOST_DRAWS = 4
"""Times as many draws as before that a repeat takes at most."""
LEARNING_RATE = 0.01
"""Of Adam: coordinates are whitened, so that a step is a hundredth of a standard deviation."""
LAST = 0.1
"""Share of the steps over which the evidence bound is averaged for the diagnostics."""
POINTS = 1000
"""Equally likely draws that weighted points are turned into."""


def import_extra(name: str, what: str) -> Any:
    """Import a library of the extra ``sampling``.

    Parameters
    ----------
    name : {"arviz", "nutpie", "pymc"}
        The library.
    what : str
        What needs it, for the message.

    Raises
    ------
    ImportError
        If it is not installed; names the extra.
    """
    try:
        with warnings.catch_warnings():
            # ArviZ's notice of a coming refactoring is not the user's matter.
            warnings.simplefilter("ignore", FutureWarning)
            import_module("arviz")
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} needs {error.name}, which the extra `sampling` installs: "
            "pip install 'rt-ridge[sampling]'"
        ) from error


def find_nuts(hierarchy: Hierarchy) -> ScalePosterior:
    """Sample; `diagnostics` holds the largest R-hat, the least effective size, the divergences.

    Notes
    -----
    Chains start at random about the mode, in coordinates in which the posterior is nearly standard
    normal, tails included, so that short trajectories and a short warm-up do. Where draws are only
    too few, as many chains join them, twice at most; where these do not suffice either, chains are
    run again with longer trajectories, smaller steps, and as many draws as the first ones say are
    needed, if they met at all.
    """
    nutpie = import_extra("nutpie", "method nuts")
    whitening, sampling = Whitening.at_mode(hierarchy), hierarchy.config.sampling
    # Who asks for few draws wants few.
    few = sampling.draws * sampling.chains < 2 * MIN_ESS

    def run(sampling: SamplingConfig) -> _Chains:
        found = _Chains.of_sample(nutpie, whitening, sampling)
        most = (1 + JOINED) * sampling.chains
        while not few and found.only_too_few(most):
            more = _Chains.of_sample(nutpie, whitening, sampling, first=len(found.points))
            found = found.joined(more)
        return found

    found = run(sampling)
    for effort in REPEATS:
        if few or not _warnings(found.diagnostics):
            break
        sampling = _longer(sampling, found.diagnostics, effort, _depth(whitening, sampling))
        found = run(sampling)
    points = found.points.reshape(-1, found.points.shape[-1])
    # Each likelihood is a sparse factorisation; a mean over a thinned chain is accurate enough.
    step = max(1, len(points) // MAX_LIKELIHOODS)
    likelihood = [hierarchy.state(point).log_likelihood for point in points[::step]]
    return ScalePosterior.of_sample(
        hierarchy.layout.names,
        points,
        log_likelihood=float(np.mean(likelihood)),
        diagnostics=found.diagnostics,
        notes=(*hierarchy.structure.notes, *_warnings(found.diagnostics)),
        trace=found.trace,
    )


@dataclass(frozen=True)
class _Chains:
    """Draws of all chains.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.
    points : ndarray, [chains, draws, size]
        Scales and offsets.
    stats : dict of str to ndarray, [chains, draws]
        What the sampler says of each draw: `diverging`, `n_steps`, `energy`.
    """

    hierarchy: Hierarchy
    points: FloatArray
    stats: dict[str, npt.NDArray[Any]]

    @classmethod
    def of_sample(
        cls, nutpie: Any, whitening: Whitening, sampling: SamplingConfig, first: int = 0
    ) -> _Chains:
        """Run chains; `first` is how many there are before them."""
        hierarchy = whitening.hierarchy
        found = _sample(nutpie, whitening, sampling, hierarchy.config.seed + first)
        phi = whitening.phi(np.asarray(found.posterior["u"]))
        free = hierarchy.layout.n_free
        points = np.concatenate([np.exp(phi[..., :free]), phi[..., free:]], axis=-1)
        names = ("diverging", "n_steps", "energy")
        return cls(hierarchy, points, {n: np.asarray(found.sample_stats[n]) for n in names})

    def joined(self, others: _Chains) -> _Chains:
        """Return these chains and others."""
        stats = {name: np.concatenate([of, others.stats[name]]) for name, of in self.stats.items()}
        return _Chains(self.hierarchy, np.concatenate([self.points, others.points]), stats)

    @cached_property
    def trace(self) -> Any:
        """An InferenceData with one variable per scale."""
        arviz = import_extra("arviz", "method nuts")
        names = self.hierarchy.layout.names
        draws = {name: self.points[:, :, j] for j, name in enumerate(names)}
        return arviz.from_dict(posterior=draws, sample_stats=self.stats)

    @cached_property
    def diagnostics(self) -> dict[str, float]:
        """The largest R-hat, the least effective number, divergences, and mean steps."""
        arviz = import_extra("arviz", "method nuts")
        r_hat, ess = arviz.rhat(self.trace), arviz.ess(self.trace)
        return {
            "r_hat": max(float(r_hat[name]) for name in r_hat),
            "ess": min(float(ess[name]) for name in ess),
            "divergences": float(self.stats["diverging"].sum()),
            "steps": float(self.stats["n_steps"].mean()),
        }

    def only_too_few(self, most: int) -> bool:
        """Whether draws are short of what is asked for, and so many chains would have enough."""
        found, n_chains = self.diagnostics, len(self.points)
        good = not found["divergences"] and found["r_hat"] < APART
        enough = found["ess"] * most > MIN_ESS * n_chains
        return bool(_warnings(found)) and good and enough and n_chains < most


def _longer(
    sampling: SamplingConfig, found: dict[str, float], effort: tuple[int, float, int], depth: int
) -> SamplingConfig:
    """Return the effort of a repeat, at least that of the first chains."""
    # A margin of a half more, for an effective number is itself an estimate. That of chains which
    # have not met says nothing of those to come.
    times = min(MOST_DRAWS, max(1.0, 1.5 * MIN_ESS / max(found["ess"], 1.0)))
    if not found["r_hat"] < APART:
        times = 1.0
    tune, accept, doublings = effort
    return sampling.model_copy(
        update={
            "draws": int(np.ceil(times * sampling.draws)),
            "tune": max(sampling.tune, tune),
            "target_accept": max(sampling.target_accept, accept),
            "max_depth": max(depth, doublings),
        }
    )


def _depth(whitening: Whitening, sampling: SamplingConfig) -> int:
    return sampling.max_depth or (WHITE_DEPTH if whitening.complete else DEPTH)


def _sample(nutpie: Any, whitening: Whitening, sampling: SamplingConfig, seed: int) -> Any:
    """Run the chains, side by side where a gradient is mostly numpy's, which frees the interpreter.

    Draws are the same either way.
    """
    from nutpie.compiled_pyfunc import from_pyfunc

    size = whitening.hierarchy.layout.size
    clock = thread_time()
    whitening.log_density(np.zeros(size))
    cores = sampling.chains if thread_time() - clock > WORTH_THREADS else 1

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
        # Overdispersed only mildly: in whitened coordinates the posterior is nearly standard
        # normal.
        make_initial_point_fn=lambda start: np.random.default_rng(start).normal(size=size),
    )
    return nutpie.sample(
        model,
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=cores,
        seed=seed,
        target_accept=sampling.target_accept,
        maxdepth=_depth(whitening, sampling),
        save_warmup=False,
        progress_bar=False,
    )


def _warnings(diagnostics: dict[str, float]) -> list[str]:
    notes = []
    # `not <` rather than `>=`: an R-hat that is NaN must warn.
    if not diagnostics["r_hat"] < MAX_R_HAT:
        notes.append(f"nuts: R-hat {diagnostics['r_hat']:.3f}, expected below {MAX_R_HAT}")
    if not diagnostics["ess"] > MIN_ESS:
        notes.append(f"nuts: {diagnostics['ess']:.0f} effective draws, expected over {MIN_ESS:.0f}")
    if diagnostics["divergences"]:
        notes.append(f"nuts: {diagnostics['divergences']:.0f} divergences")
    return notes


def find_advi(hierarchy: Hierarchy) -> ScalePosterior:
    """Fit a normal with independent coordinates, whitened at the mode, and draw from it."""
    pm = import_extra("pymc", "method advi")
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
    likelihood = [hierarchy.state(point).log_likelihood for point in points]
    last = approximation.hist[-max(1, int(LAST * sampling.advi_steps)) :]
    return ScalePosterior.of_sample(
        hierarchy.layout.names,
        points,
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
        # Flat, for the Potential holds prior, likelihood and the volume of the change of
        # coordinates.
        u = pm.Flat("u", shape=whitening.hierarchy.layout.size)
        pm.Potential("log_density", LogDensity()(u)[0])
    return model


def to_inference_data(scales: ScalePosterior, seed: int) -> Any:
    """Return an ArviZ InferenceData with one variable per scale.

    Parameters
    ----------
    scales : ScalePosterior
        Weighted points become equally likely draws; a single point stays one draw. A sampler's
        own trace is returned as it is.
    seed : int
        Of the resampling.

    Raises
    ------
    ImportError
        If ArviZ is not installed.
    """
    if scales.trace is not None:
        return scales.trace
    arviz = import_extra("arviz", "idata_, the posterior as InferenceData,")
    points = scales.points
    if len(points) > 1:
        rng = np.random.default_rng(seed)
        # Systematic resampling: as even as weights allow, in random order.
        places = (np.arange(POINTS) + rng.uniform()) / POINTS
        chosen = np.searchsorted(np.cumsum(scales.weights), places * scales.weights.sum())
        points = points[rng.permutation(np.minimum(chosen, len(points) - 1))]
    draws = {name: points[None, :, j] for j, name in enumerate(scales.names)}
    return arviz.from_dict(posterior=draws)
