"""How a pass computes: float32 with nothing rounded away is the reference; anything faster is asked for."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Run a pass in `precision` (float32, tf32, bfloat16), and leave torch's settings as they were.

    float32 : TF32 off, deterministic cuDNN algorithms, no search among them by timing, no autocast.
    On the CPU a pass uses one thread, because sums are cut by the number of threads and their last bits
    with them; speed comes from passes of several batches side by side. TF32 is a matter of GPUs alone.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            fast = precision == "tf32"
            stack.enter_context(_matmul("high" if fast else "highest"))
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=fast)
            )
        else:
            stack.enter_context(_one_thread())
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


_counting = threading.Lock()
_passes = 0  # under way in this process
_threads = 1  # of torch, before the first of them


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread for the passes of this process, until the last of them has ended.

    The setting is the process's for one library below torch and the thread's for another: every pass sets
    it, and only the last one sets it back.
    """
    global _passes, _threads
    with _counting:
        if _passes == 0:
            _threads = torch.get_num_threads()
        _passes += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _counting:
            _passes -= 1
            if _passes == 0:
                torch.set_num_threads(_threads)
