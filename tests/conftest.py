"""What tests of more than one folder need."""

from collections.abc import Iterator

import pretend_gpu
import pytest
import torch

_GPUS = [name for name, gpu in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if gpu.is_available()]


@pytest.fixture(scope="module", params=_GPUS or [pretend_gpu.NAME])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each device beside the CPU, or one that is pretended."""
    if request.param != pretend_gpu.NAME:
        yield torch.device(request.param)
        return
    if not pretend_gpu.IS_POSSIBLE:
        pytest.skip("there is no GPU, and this PyTorch cannot have devices that are written in Python")
    pretend_gpu.register()
    # Module.to would otherwise put the other tensor's description in front of the values that are there.
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield torch.device(pretend_gpu.NAME)
    torch.__future__.set_swap_module_params_on_conversion(before)
