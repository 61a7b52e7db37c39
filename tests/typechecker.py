"""The checker behind the annotations while tests run.

jaxtyping's hook wraps every function of the package.  Its wrapper compares the sizes of arrays with each other, which
takes some 40 microseconds a call: most of the time of tests that call small functions a million times.  Functions whose
annotations name no array have no sizes to compare: they get the checker alone, which is as strict.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError))
"""``beartype`` that takes an ``int`` where a ``float`` is asked for, as Python's typing does.

Its error is that of jaxtyping: a ``TypeError``, as what is wrong would most likely raise without the checker.
"""

_with_sizes = jaxtyping.jaxtyped


def _names_arrays(annotation: Any) -> bool:
    """Whether an annotation names an array, or is a text that may name one."""
    if isinstance(annotation, str):
        return True
    if isinstance(annotation, list):  # the arguments of a Callable
        return any(map(_names_arrays, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_names_arrays, get_args(annotation)))


def _checked(target: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """What ``jaxtyping.jaxtyped`` gives, without its wrapper where a function names no array."""
    if target is None:
        return functools.partial(_checked, typechecker=typechecker)
    if inspect.isfunction(target) and not any(map(_names_arrays, inspect.get_annotations(target).values())):
        return typechecker(target)
    return _with_sizes(target, typechecker=typechecker)


jaxtyping.jaxtyped = _checked  # type: ignore[assignment]
