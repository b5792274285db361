import numpy as np
import pytest
import torch
from chemprop_multitask.incidence import OnesMatrix, Rows
from hypothesis import given, settings
from hypothesis import strategies as st


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
forward_mode = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
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
