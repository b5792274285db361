"""Sparse matrices of ones that sum rows along bonds, as differentiable linear maps."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad


@dataclass(frozen=True)
class Rows:
    """Positions of the ones of a sparse 0/1 matrix, in CSR order.

    Parameters
    ----------
    crow : Tensor [R + 1]
        Where each row's entries begin in `col`; the last element is their number.
    col : Tensor [nnz]
        Columns of the entries, row after row.
    """

    crow: Tensor
    col: Tensor

    @classmethod
    def one_each(cls, col: Tensor) -> Rows:
        """Return the matrix whose row i has its only one in column ``col[i]``."""
        return cls(torch.arange(len(col) + 1, device=col.device), col)

    @classmethod
    def grouped(cls, row: Tensor, n_rows: int) -> Rows:
        """Return the matrix [n_rows, len(row)] with a one at every ``(row[j], j)``."""
        crow = pad(torch.bincount(row, minlength=n_rows).cumsum(0), (1, 0))
        return cls(crow, torch.argsort(row, stable=True))

    def repeated(self, row: Tensor, without: Tensor) -> Rows:
        """Return a matrix whose row i is our row ``row[i]`` less its one in column ``without[i]``.

        Every such one must exist.
        """
        counts = self.crow.diff()[row]
        new_row = torch.repeat_interleave(counts)
        shift = self.crow[row] - (counts.cumsum(0) - counts)
        col = self.col[torch.arange(len(new_row), device=row.device) + shift[new_row]]
        crow = pad((counts - 1).cumsum(0), (1, 0))
        return Rows(crow, col[col != without[new_row]])


@dataclass(frozen=True)
class OnesMatrix:
    """A sparse 0/1 matrix A with its transpose: ``A @ X`` sums rows of X, its gradient is Aᵀ G.

    Parameters
    ----------
    rows : Rows
        The ones of A, [R, C].
    transposed : Rows
        The ones of Aᵀ, [C, R].

    Notes
    -----
    Derivatives of any order, forward mode, `torch.vmap` and batched gradients are supported.
    """

    rows: Rows
    transposed: Rows

    def __matmul__(self, X: Tensor) -> Tensor:
        """Return A X, [R, F], for `X` of shape [C, F]."""
        ours, theirs = self.rows, self.transposed
        return _product(X, ours.crow, ours.col, theirs.crow, theirs.col)


class _Product(torch.autograd.Function):
    """Linear in its first argument; the rest are the CSR arrays of the matrix and its transpose."""

    @staticmethod
    def forward(X: Tensor, crow: Tensor, col: Tensor, crow_t: Tensor, col_t: Tensor) -> Tensor:
        # A sum over bags of rows is this product without a stored value for each one, two to three
        # times quicker than that of `torch.sparse_csr_tensor` and without its beta warning.
        return embedding_bag(col, X.contiguous(), crow, mode="sum", include_last_offset=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, *csr = inputs
        ctx.save_for_backward(*csr)
        ctx.save_for_forward(*csr)

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor | None, ...]:
        crow, col, crow_t, col_t = ctx.saved_tensors
        return _product(G, crow_t, col_t, crow, col), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, dX: Tensor, *_: None) -> Tensor:
        return _product(dX, *ctx.saved_tensors)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], X: Tensor, *csr: Tensor
    ) -> tuple[Tensor, int]:
        # All examples share the matrix, so that they become further columns of one product.
        assert in_dims[0] is not None, "only X can be batched"
        X = X.movedim(in_dims[0], 1)
        product = _product(X.flatten(1), *csr)
        return product.reshape(len(product), *X.shape[1:]), 1


# torch asks at each product for the signature of `forward`, and Python would work it out anew.
vars(_Product)["forward"].__func__.__signature__ = signature(_Product.forward)


def _product(X: Tensor, *csr: Tensor) -> Tensor:
    product: Tensor = _Product.apply(X, *csr)
    return product
