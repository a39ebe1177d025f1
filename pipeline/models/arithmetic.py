"""How a pass computes: float32 with nothing rounded away is the reference; anything faster is asked for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Run a pass in `precision` (float32, tf32, bfloat16), and leave torch's settings as they were.

    float32 : TF32 off, deterministic cuDNN algorithms, no search among them by timing, no autocast.
    On the CPU only bfloat16 changes anything.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            fast = precision == "tf32"
            stack.enter_context(_matmul("high" if fast else "highest"))
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=fast)
            )
        if precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        yield


@contextmanager
def _matmul(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
