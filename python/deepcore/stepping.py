"""A backward pass in which weights take their optimizer's step as soon as their gradient is known.

A step may only be taken where the gradient is complete and nothing reads the weight afterwards: where one node of the
tape is the only one that does, and its operation says that it can (`defvjp(..., steps=)`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar

from deepcore.autograd import Node, add_to_leaves, sweep
from deepcore.tensor import Tensor

Leaf = TypeVar("Leaf", bound=Tensor)


def backward_with_steps(
    output: Tensor, gradient: Tensor | None, candidates: Collection[Leaf], step_of: Callable[[Leaf], Any]
) -> None:
    """`backward`, in which those candidates whose gradient one call gives complete take `step_of` them instead."""
    steps: dict[Node, Callable[[], Any]] = {}
    if output.node is not None and candidates:
        for node, leaf in _only_uses(output.node, candidates).items():
            steps[node] = partial(step_of, leaf)
    add_to_leaves(sweep([output], [gradient], None, False, steps), False)


def _only_uses(root: Node, candidates: Iterable[Leaf]) -> dict[Node, Leaf]:
    """The nodes that can step the candidates whose memory no other place of the tape reads."""
    wanted: dict[int, Leaf] = {}
    uses: dict[int, Node | None] = {}
    for leaf in candidates:
        if wanted.setdefault(leaf.array.storage, leaf) is not leaf:
            uses[leaf.array.storage] = None
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        op = node.op
        if not op.always_has_rules and not _has_rules(node):
            return {}  # an error is to come, before which nothing may change
        args = node.saved_args_checked()
        for i, edge in enumerate(node.edges):
            if edge.__class__ is tuple:  # what was made from a leaf leads to it
                if edge[0] not in seen:
                    seen.add(edge[0])
                    stack.append(edge[0])
                continue
            t = args[i] if edge is None else edge
            if isinstance(t, Tensor):
                storage = t.array.storage
                if storage in wanted:
                    free = i == op.steps and edge is t is wanted[storage] and storage not in uses
                    uses[storage] = node if free else None
    return {node: wanted[storage] for storage, node in uses.items() if node is not None}


def _has_rules(node: Node) -> bool:
    rules = node.op.rules or ()
    return all(edge is None or (i < len(rules) and rules[i] is not None) for i, edge in enumerate(node.edges))
