"""Products with the generalised Gauss-Newton matrix, from two backward passes and without the matrix."""

from __future__ import annotations

from collections.abc import Sequence

from deepcore.autograd import enable_grad, grad
from deepcore.errors import ArgumentError, ShapeError
from deepcore.tensor import Tensor, zeros


def _zeros(like: Tensor) -> Tensor:
    return zeros(like.shape, dtype=like.dtype, device=like.device)


class GaussNewton:
    """v -> J^T H J v, with J = d outputs / d parameters and H = d^2 loss / d outputs^2 (Schraudolph, 2002).

    The matrix is that of the loss of the net made linear in its parameters: for a loss convex in the outputs it has no
    negative eigenvalue. J v is the derivative with respect to u of J^T u, which is linear in u. What is recorded
    here serves any number of products, until a parameter changes.

    Args:
        outputs: what the loss is computed from, of any shape; what lies between both counts as part of the loss.
        loss: one element, on the tape of the outputs.
        parameters: leaves of that tape; those that are not on it, or frozen, have products of zeros.

    Raises:
        GradientError: outputs or loss are not on the tape.
    """

    def __init__(self, outputs: Tensor, loss: Tensor, parameters: Sequence[Tensor]) -> None:
        self.outputs, self.parameters = outputs, list(parameters)
        free = [p for p in self.parameters if p.requires_grad]
        if not free:
            raise ArgumentError("GaussNewton: expected at least one parameter that requires a gradient")
        with enable_grad():
            self._slope = grad(loss, [outputs], create_graph=True)[0]
            self._u = _zeros(outputs).requires_grad_()
            found = grad(outputs, free, self._u, create_graph=True, allow_unused=True)
        pairs = [(p, g) for p, g in zip(free, found, strict=True) if g is not None]
        self._used = [p for p, _ in pairs]
        self._pulled = {id(p): g for p, g in pairs}  # J^T u by parameter

    def __call__(self, v: Sequence[Tensor]) -> list[Tensor]:
        """The product, in the shapes of the parameters, as `v` is.

        Raises:
            ShapeError: `v` has other shapes.
        """
        expected, got = [p.shape for p in self.parameters], [t.shape for t in v]
        if expected != got:
            raise ShapeError(f"GaussNewton: expected v of shapes {expected}, got {got}")
        pulled = [(self._pulled[id(p)], t) for p, t in zip(self.parameters, v, strict=True) if id(p) in self._pulled]
        pulled = [(g, t) for g, t in pulled if g.requires_grad]
        pushed = (
            grad([g for g, _ in pulled], [self._u], [t for _, t in pulled], allow_unused=True) if pulled else [None]
        )
        curved = self._curved(pushed[0])
        if curved is None:
            return [_zeros(p) for p in self.parameters]
        found = dict(zip(map(id, self._used), grad(self.outputs, self._used, curved), strict=True))
        return [found[id(p)] if id(p) in found else _zeros(p) for p in self.parameters]

    def _curved(self, pushed: Tensor | None) -> Tensor | None:
        """H applied to J v; None for zeros."""
        if pushed is None or not self._slope.requires_grad:  # a loss linear in the outputs
            return None
        curved: Tensor | None = grad(self._slope, [self.outputs], pushed, allow_unused=True)[0]
        return curved


def gauss_newton_product(
    outputs: Tensor, loss: Tensor, parameters: Sequence[Tensor], v: Sequence[Tensor]
) -> list[Tensor]:
    """J^T H J v, with J = d outputs / d parameters and H = d^2 loss / d outputs^2: one product of `GaussNewton`.

    v: one tensor per parameter, of its shape; so is what is returned.
    """
    return GaussNewton(outputs, loss, parameters)(v)


__all__ = ["GaussNewton", "gauss_newton_product"]
