"""How a wrong model is made: one function of transformers' zaya module edited, or one value of the loaded model changed."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from transformers import ZayaForCausalLM

# Makes a model wrong for as long as the context is open. The model is the caller's to throw away.
Alteration = Callable[[ZayaForCausalLM], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One wrong model. `tap` is where it first differs from the right one on the tiny prompt, as the equations say.

    `shows` is False where no value of that prompt reaches the altered code. `also` are other values that the same alteration makes wrong by
    itself, of right inputs: a dump that lacks `tap` shows it there first.
    """

    name: str
    says: str
    tap: str
    alter: Alteration
    shows: bool = True
    also: tuple[str, ...] = ()


def edit(function: Callable, old: str, new: str) -> Alteration:
    """Runs `function` with its source text `old`, which must stand in it exactly once, replaced by `new`."""

    @contextmanager
    def altered(_model: ZayaForCausalLM) -> Iterator[None]:
        original = inspect.unwrap(function)
        code = original.__code__
        original.__code__ = _edited_code(original, old, new)
        try:
            yield
        finally:
            original.__code__ = code

    return altered


def change(apply: Callable[[ZayaForCausalLM], object]) -> Alteration:
    """Applies a change to the loaded model: a weight, an attribute, or a hook on a module."""

    @contextmanager
    def altered(model: ZayaForCausalLM) -> Iterator[None]:
        with torch.no_grad():
            apply(model)
        yield

    return altered


def output_of(module: torch.nn.Module, replace: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replaces the module's output, for everyone who sees it."""
    module.register_forward_hook(lambda _module, _args, output: replace(output))


def _edited_code(function: Callable, old: str, new: str):
    """The edited function's code under the original's file and lines: the observer recognises a frame by its file and its name.

    Only the code object is swapped, so decorators, defaults and every reference to the function stay as they are.
    """
    text = textwrap.dedent(inspect.getsource(function))
    if text.count(old) != 1:
        raise ValueError(f"edit: expected {old!r} once in {function.__qualname__}, found it {text.count(old)} times")
    tree = ast.parse(text.replace(old, new))
    tree.body[0].decorator_list.clear()
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    scope = dict(function.__globals__)
    exec(compile(tree, function.__code__.co_filename, "exec"), scope)
    return scope[function.__name__].__code__
