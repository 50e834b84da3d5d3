"""A device named `pretend` that computes on the CPU and refuses what a GPU refuses.

Operations on tensors of this device and of the CPU together, arrays of its tensors, and float64, which
Apple's GPUs lack, raise errors as on a GPU. So a machine without one finds tensors that were left behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten

NAME = "pretend"
IS_POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
# What goes from one device to the other.
_COPIES = (aten.copy_.default, aten._to_copy.default)
# A tensor of a GPU may be indexed by tensors of the CPU, not the other way round.
_INDEXING = (
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
)


class PretendTensor(Tensor):
    """A tensor on the pretended device.

    Attributes:
        here: its values, on the CPU.
    """

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "PretendTensor":
        if here.dtype == torch.float64:
            raise TypeError("the device has no float64")
        made = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(NAME, 0),
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, *args, **(kwargs or {}))

    # The following do not go through the dispatcher.

    def tolist(self) -> Any:
        return self.here.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"a tensor of {NAME} is no array: use Tensor.cpu() first")

    __array__ = numpy

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.here.__reduce_ex__(protocol)  # files hold the values

    def __repr__(self, *_: Any, **__: Any) -> str:
        return f"{self.here!r} on {NAME}"


def _run(func: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation in which the device takes part: checked, and done on the CPU."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = {id(tensor.here): tensor for tensor in tensors if isinstance(tensor, PretendTensor)}
    indexes = tree_leaves(args[1]) if func in _INDEXING and isinstance(args[0], PretendTensor) else []
    for tensor in tensors:
        is_known = isinstance(tensor, PretendTensor) or tensor.dim() == 0  # numbers go everywhere
        is_index = any(tensor is index for index in indexes) and not tensor.is_floating_point()
        if there and not is_known and not is_index and func not in _COPIES:
            raise RuntimeError(f"{func}: expected all tensors on one device, found cpu and {NAME}")
    wanted = kwargs.get("device")
    ends_there = bool(there) if wanted is None else torch.device(wanted).type == NAME
    if ends_there and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{func}: expected a generator of {NAME}, found one of the cpu")
    if wanted is not None:
        kwargs["device"] = torch.device("cpu")
    args, kwargs = tree_map(_values, (args, kwargs))
    result = func(*args, **kwargs)
    if any(tensor.shape != tensor.here.shape for tensor in there.values()):
        raise NotImplementedError(f"{func} changes the size of its argument: give {NAME} a function for it")
    if func is aten.copy_.default:
        ends_there = id(result) in there

    def back(value: Any) -> Any:
        if not isinstance(value, Tensor) or not ends_there:
            return value
        return there[id(value)] if id(value) in there else PretendTensor(value)

    return tree_map(back, result)


def _values(value: Any) -> Any:
    return value.here if isinstance(value, PretendTensor) else value


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:  # noqa: ARG001
    _values(target).copy_(_values(source))
    return target


def _arange(*numbers: Any, device: Any = None, **kwargs: Any) -> Tensor:
    # PyTorch's own makes an empty tensor and lets it grow.
    return torch.arange(*numbers, **kwargs).to(device)


class _Device(backend_registration._DummyBackendModule if IS_POSSIBLE else object):
    """What PyTorch asks the device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@contextmanager
def pretended() -> Iterator[torch.device]:
    """The device, ready to be used."""
    _register()
    # Module.to would otherwise put the other tensor's description in front of the values that are there.
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield torch.device(NAME)
    torch.__future__.set_swap_module_params_on_conversion(before)


@cache
def _register() -> tuple[torch.library.Library, ...]:
    """From here on PyTorch knows the device; what is returned must live as long."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, _Device())
    # Tensors that are made on the device, which have no tensor of it among their arguments yet.
    everything, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(_run, "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # it casts nothing
    some.impl("_copy_from", _copy_from, "PrivateUse1")
    for overload in ("arange", "arange.start", "arange.start_step"):
        some.impl(overload, _arange, "PrivateUse1")
    return everything, some
