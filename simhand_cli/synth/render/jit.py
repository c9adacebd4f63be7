"""Compiled kernels: numba with an on-disk cache where one can be kept."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a numeric function with numba, without fast-math so that every machine adds in the same order.

    The compiled code is cached beside the source or, where that is read-only, in numba's per-user folder; where
    neither can be written it is compiled anew by each process.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    # numba says so when it finds no place for its cache, and it says it here, not at the first call.
    except RuntimeError:
        return cast(Function, numba.njit(nogil=True)(function))
