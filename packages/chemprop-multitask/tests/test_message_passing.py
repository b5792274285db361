from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chemprop import nn
from chemprop.data import BatchMolGraph
from chemprop.exceptions import InvalidShapeError
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop.models import MPNN
from chemprop.nn import BondMessagePassing, GraphTransform, NormAggregation, RegressionFFN
from chemprop.nn.transforms import ScaleTransform
from chemprop_multitask import FastBondMessagePassing
from chemprop_multitask._message_passing import OnesMatrix, Rows, aggregate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from torch import Tensor
from torch.nn.utils.prune import l1_unstructured

BANK = [
    "C",
    "[Na+]",
    "[H][H]",
    "[Cl-].[NH4+]",
    "CC(=O)[O-].[Na+]",
    "CC",
    "C#N",
    "F[P-](F)(F)(F)(F)F.[K+]",
    "C1CC1",
    "C12C3C4C1C5C2C3C45",
    "C1CC12CC2",
    "c1ccc2ccccc2c1",
    "CC(C)(C)c1ccc(O)cc1",
    "C[C@H](N)C(=O)O",
    "F/C=C/F",
    "O.O.CCO",
    "c1ccc(cc1)-c1ccccc1.Cl",
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "[13CH4]",
    "C*",
    "",
    "B1([O-])OO1.[Na+]",
    "CC(C)CCCCCCCCCCCCCCC",
]
ALL = tuple(BANK)
NO_BONDS = ("C", "[Na+]", "O.O", "")

# Importing torch's forward-mode rules compiles some of them, about which torch 2.9 and later warn.
forward_mode = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")


def assert_close(ours: Tensor, theirs: Tensor, name: str = "tensors") -> None:
    # Entries are of order one; both sum float32 products, in another order.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, msg=lambda m: f"{name}: {m}")


def batch(smiles: Sequence[str], dtype: torch.dtype = torch.float32) -> BatchMolGraph:
    featurize = SimpleMoleculeMolGraphFeaturizer()
    bmg = BatchMolGraph([featurize(Chem.MolFromSmiles(s)) for s in smiles])
    bmg.V, bmg.E = bmg.V.to(dtype), bmg.E.to(dtype)
    return bmg


def pair(**hparams: Any) -> tuple[BondMessagePassing, FastBondMessagePassing]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        given: dict[str, Any] = {"d_h": 16, **hparams}
        theirs = BondMessagePassing(**given)
    return theirs, FastBondMessagePassing.from_chemprop(theirs)


def outcome(
    block: BondMessagePassing, smiles: Sequence[str], d_vd: int | None = None
) -> dict[str, Tensor]:
    """Return the output and the gradients of a random cotangent to every weight and input."""
    bmg = batch(smiles)
    generator = torch.Generator().manual_seed(1)
    leaves = {"V": bmg.V, "E": bmg.E}
    if d_vd is not None:
        leaves["V_d"] = torch.randn(len(bmg.V), d_vd, generator=generator)
    for leaf in leaves.values():
        leaf.requires_grad_()
    out = block(bmg, leaves.get("V_d"))
    leaves |= dict(block.named_parameters())
    cotangent = torch.randn(out.shape, generator=generator)
    # Depth 1 leaves W_h unused.
    grads = torch.autograd.grad(out, list(leaves.values()), cotangent, materialize_grads=True)
    return {"out": out.detach(), **dict(zip(leaves, grads, strict=True))}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert_close(ours[name], expected, name)


@pytest.mark.parametrize(
    "hparams",
    [
        {},
        {"depth": 1},
        {"depth": 6},
        {"bias": True},
        {"undirected": True},
        {"undirected": True, "bias": True, "depth": 4},
        {"activation": "tanh"},
        {"activation": "prelu"},
        {"activation": torch.nn.SiLU()},
    ],
    ids=str,
)
@pytest.mark.parametrize("smiles", [ALL, NO_BONDS, ("C",), ("[Cl-].[NH4+]",), ("CC",)], ids=len)
def test_outputs_and_gradients_are_chemprops(
    hparams: dict[str, Any], smiles: Sequence[str]
) -> None:
    theirs, ours = pair(**hparams)
    assert_same(outcome(ours, smiles), outcome(theirs, smiles))


@settings(deadline=None, max_examples=60)
@given(
    smiles=st.lists(st.sampled_from(BANK), min_size=1, max_size=8),
    depth=st.integers(1, 5),
    undirected=st.booleans(),
)
@example(smiles=["", ""], depth=3, undirected=True)
@example(smiles=["[Na+]", "C12C3C4C1C5C2C3C45", "[Na+]"], depth=5, undirected=False)
def test_random_batches_give_chemprops_numbers(
    smiles: list[str], depth: int, undirected: bool
) -> None:
    theirs, ours = pair(depth=depth, undirected=undirected)
    assert_same(outcome(ours, smiles), outcome(theirs, smiles))


def test_atom_descriptors() -> None:
    theirs, ours = pair(d_vd=3, V_d_transform=ScaleTransform([1.0, 2, 3], [4.0, 5, 6]))
    assert_same(outcome(ours, ALL, d_vd=3), outcome(theirs, ALL, d_vd=3))


def test_atom_descriptors_of_another_width_are_refused() -> None:
    _, ours = pair(d_vd=3)
    with pytest.raises(InvalidShapeError, match="V_d"):
        outcome(ours, ("CCO",), d_vd=4)


def test_graph_transform_is_applied() -> None:
    transform = GraphTransform(
        ScaleTransform(torch.zeros(72).tolist(), torch.full((72,), 2.0).tolist()),
        ScaleTransform(torch.zeros(14).tolist(), torch.full((14,), 3.0).tolist()),
    )
    theirs, ours = pair(graph_transform=transform)
    assert_same(outcome(ours.eval(), ("CCO", "CC(C)C")), outcome(theirs.eval(), ("CCO", "CC(C)C")))


@pytest.mark.parametrize("training", [True, False])
def test_dropout_draws_the_same_masks(training: bool) -> None:
    theirs, ours = (block.train(training) for block in pair(dropout=0.3))
    found = []
    for block in (ours, theirs):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            found.append(outcome(block, ALL))
    assert_same(*found)


@settings(deadline=None, max_examples=20)
@given(st.permutations(BANK))
def test_the_order_of_molecules_does_not_matter(smiles: list[str]) -> None:
    _, ours = pair()
    found = by_molecule(ours, smiles)
    expected = by_molecule(ours, BANK)
    for name in BANK:
        assert_close(found[name], expected[name])


def by_molecule(block: BondMessagePassing, smiles: Sequence[str]) -> dict[str, Tensor]:
    bmg = batch(smiles)
    sizes = torch.bincount(bmg.batch).tolist()
    with torch.no_grad():
        return dict(zip(smiles, block(bmg).split(sizes), strict=True))


def test_closed_form_of_propane_without_weights() -> None:
    # Identity weights and depth 2: a bond's state is h + the states of the bonds that enter it.
    d = 72 + 14
    ours: Any = FastBondMessagePassing(d_h=d, depth=2)
    with torch.no_grad():
        ours.W_i.weight.copy_(torch.eye(d))
        ours.W_h.weight.copy_(torch.eye(d))
        ours.W_o.weight.copy_(torch.eye(72 + d)[72:])
        ours.W_o.bias.zero_()
        bmg = batch(("CCC",))
        first, middle, last = bmg.V
        e = bmg.E[0]
        by_hand = torch.stack(
            [
                torch.cat([middle + last, 2 * e]),  # 1→0 and what entered atom 1 from atom 2
                torch.cat([first + last, 2 * e]),  # end atoms receive nothing on their way in
                torch.cat([middle + first, 2 * e]),
            ]
        )
        torch.testing.assert_close(ours(bmg), by_hand, rtol=0, atol=1e-6)  # float32, three terms


@pytest.mark.parametrize("undirected", [False, True])
def test_gradcheck_in_double_precision(undirected: bool) -> None:
    ours = FastBondMessagePassing(d_h=3, activation="tanh", undirected=undirected, bias=True)
    ours.double()
    bmg = batch(("CC(O)=C", "[Na+]", "C1CC1"), torch.float64)
    V, E = bmg.V.clone(), bmg.E.clone()

    def f(V: Tensor, E: Tensor, *weights: Tensor) -> Tensor:
        bmg.V, bmg.E = V, E
        named = dict(zip(names, weights, strict=True))
        out: Tensor = torch.func.functional_call(ours, named, (bmg,))
        return out

    names, weights = zip(*ours.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        f, (V.requires_grad_(), E.requires_grad_(), *weights), fast_mode=True
    )


@forward_mode
def test_batched_and_forward_mode_derivatives_agree_with_chemprops() -> None:
    derivatives = []
    for block in pair():
        block.double()
        bmg = batch(ALL, torch.float64)
        names, weights = zip(*block.named_parameters(), strict=True)

        def f(*w: Tensor, block: Any = block, bmg: Any = bmg, names: Any = names) -> Tensor:
            out: Tensor = torch.func.functional_call(block, dict(zip(names, w, strict=True)), bmg)
            return out.sum(dim=1)[:5]

        cotangents = torch.eye(5, dtype=torch.float64)
        _, pull = torch.func.vjp(f, *weights)[:2]
        tangent = torch.func.jvp(f, weights, weights)[1]
        derivatives.append((torch.vmap(pull)(cotangents), tangent))
    (theirs_vjp, theirs_jvp), (ours_vjp, ours_jvp) = derivatives
    for ours, theirs in zip((*ours_vjp, ours_jvp), (*theirs_vjp, theirs_jvp), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)  # double precision


def test_a_pruned_weight_is_the_one_that_counts() -> None:
    # Pruning sets the weight in a hook of the layer, which a bare product would pass by.
    theirs, ours = pair()
    blocks: tuple[Any, Any] = theirs, ours
    for block in blocks:
        l1_unstructured(block.W_h, "weight", amount=0.5)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            block.W_h.weight_orig.mul_(2.0)
    smiles = ["CC(C)(C)c1ccc(O)cc1", "F/C=C/F"]
    assert_close(ours(batch(smiles)), theirs(batch(smiles)))


def test_hooks_of_the_message_layer_are_called() -> None:
    _, ours = pair(depth=4)
    calls: list[int] = []
    ours.W_h.register_forward_hook(lambda *_: calls.append(1))
    ours(batch(["CCO"]))
    assert len(calls) == 3


def test_state_dicts_are_exchanged_both_ways() -> None:
    ours = FastBondMessagePassing(d_h=16, bias=True)
    blocks: tuple[Any, Any] = BondMessagePassing(d_h=16, bias=True), ours
    for source, target in (blocks, blocks[::-1]):
        with torch.no_grad():
            source.W_h.weight.add_(0.1)
        target.load_state_dict(source.state_dict())
        assert_same(outcome(target, ALL), outcome(source, ALL))


def test_hparams_name_chemprops_class() -> None:
    theirs, ours = pair(depth=4, bias=True, activation="tanh")
    assert ours.hparams == theirs.hparams
    assert pickle.loads(pickle.dumps(ours.hparams))["cls"] is BondMessagePassing


def test_positional_arguments_reach_the_hparams() -> None:
    ours = FastBondMessagePassing(72, 14, 20, True, 5)
    assert ours.hparams == BondMessagePassing(72, 14, 20, True, 5).hparams


def test_a_pickled_block_is_still_ours() -> None:
    _, ours = pair()
    twin = pickle.loads(pickle.dumps(ours))
    assert type(twin) is FastBondMessagePassing
    assert torch.equal(twin(batch(ALL)), ours(batch(ALL)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_from_chemprop_copies(dtype: torch.dtype) -> None:
    theirs = BondMessagePassing(d_h=8, activation=torch.nn.PReLU()).to(dtype).eval()
    ours = FastBondMessagePassing.from_chemprop(theirs)
    assert not ours.training
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.dtype == dtype
        assert a.data_ptr() != b.data_ptr()


def test_a_saved_model_opens_in_chemprop(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    model = MPNN(
        FastBondMessagePassing(d_h=16), NormAggregation(), RegressionFFN(input_dim=16)
    ).eval()
    torch.save({"hyper_parameters": model.hparams, "state_dict": model.state_dict()}, path)
    theirs = MPNN.load_from_file(path).eval()
    assert type(theirs.message_passing) is BondMessagePassing
    assert_close(theirs(batch(ALL)), model(batch(ALL)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpus_numbers() -> None:
    _, ours = pair()
    expected = ours(batch(ALL)).detach()
    bmg = batch(ALL)
    bmg.to("cuda")
    assert_close(ours.cuda()(bmg).detach().cpu(), expected)


def dense(rows: Rows, n_columns: int) -> torch.Tensor:
    matrix = torch.zeros(len(rows.crow) - 1, n_columns, dtype=torch.float64)
    for i, (start, stop) in enumerate(zip(rows.crow[:-1], rows.crow[1:], strict=True)):
        for j in rows.col[start:stop]:
            matrix[i, j] += 1
    return matrix


def grouping(row: list[int], n_rows: int) -> OnesMatrix:
    index = torch.tensor(row, dtype=torch.long)
    return OnesMatrix(Rows.grouped(index, n_rows), Rows.one_each(index))


groupings = st.integers(1, 6).flatmap(
    lambda n: st.tuples(st.lists(st.integers(0, n - 1), max_size=12), st.just(n))
)


@given(groupings)
def test_grouped_has_a_one_for_every_column(case: tuple[list[int], int]) -> None:
    row, n_rows = case
    expected = torch.zeros(n_rows, len(row), dtype=torch.float64)
    expected[row, range(len(row))] = 1
    matrix = grouping(row, n_rows)
    assert torch.equal(dense(matrix.rows, len(row)), expected)
    assert torch.equal(dense(matrix.transposed, n_rows), expected.T)


def test_repeated_takes_rows_and_drops_one_entry_of_each() -> None:
    rows = Rows.grouped(torch.tensor([0, 2, 0, 2, 2]), 3)
    picked = rows.repeated(torch.tensor([2, 0, 2]), without=torch.tensor([3, 0, 1]))
    by_hand = [[0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
    assert torch.equal(dense(picked, 5), torch.tensor(by_hand, dtype=torch.float64))


@settings(deadline=None)
@given(groupings, st.integers(1, 4))
def test_product_is_the_dense_product(case: tuple[list[int], int], width: int) -> None:
    row, n_rows = case
    matrix = grouping(row, n_rows)
    X = torch.from_numpy(np.random.default_rng(0).normal(size=(len(row), width)))
    expected = dense(matrix.rows, len(row)) @ X
    # Up to 12 terms of order one, summed in another order.
    assert torch.allclose(matrix @ X, expected, rtol=0, atol=1e-13)


# Importing torch's forward-mode rules compiles some of them, about which torch 2.9 and later warn.
MATRIX = grouping([0, 2, 0, 2, 2], 4)
A = dense(MATRIX.rows, 5)


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@forward_mode
def test_derivatives_of_first_and_second_order() -> None:
    X = inputs(5, 3).requires_grad_()
    f = lambda X: (MATRIX @ X).sin()  # noqa: E731
    assert torch.autograd.gradcheck(f, X, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(f, X)


def test_gradient_of_an_expanded_cotangent() -> None:
    X = inputs(5, 3).requires_grad_()
    # A sum hands back a tensor whose strides are zero.
    (grad,) = torch.autograd.grad((MATRIX @ X).sum(), X)
    assert torch.equal(grad, A.T @ torch.ones(4, 3, dtype=torch.float64))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_vmap_multiplies_every_example(dim: int) -> None:
    X = inputs(7, 5, 3)
    products = torch.vmap(lambda X: MATRIX @ X, in_dims=dim)(X.movedim(0, dim))
    assert torch.allclose(products, A @ X, rtol=0, atol=1e-14)  # at most three terms each


@forward_mode
def test_forward_mode_is_the_product_of_the_tangent() -> None:
    X, dX = inputs(2, 5, 3)
    out = torch.func.jvp(lambda X: MATRIX @ X, (X,), (dX,))[1]
    assert torch.allclose(out, A @ dX, rtol=0, atol=1e-14)  # at most three terms each


KINDS = [nn.MeanAggregation, nn.SumAggregation, lambda: nn.NormAggregation(norm=7.0)]


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(lambda s: s[-1] > 0))
def test_values_and_gradients_are_chemprops(kind: Any, sizes: list[int]) -> None:
    batch = torch.repeat_interleave(torch.tensor(sizes))
    H = torch.randn(len(batch), 4, dtype=torch.float64, requires_grad=True)
    G = torch.randn(len(sizes), 4, dtype=torch.float64)
    results = [aggregate(kind(), H, batch), kind()(H, batch)]
    gradients = [torch.autograd.grad((result * G).sum(), H)[0] for result in results]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_an_aggregation_with_weights_is_called_itself() -> None:
    module = nn.AttentiveAggregation(output_size=4)
    H, batch = torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 1])
    torch.testing.assert_close(aggregate(module, H, batch), module(H, batch))
