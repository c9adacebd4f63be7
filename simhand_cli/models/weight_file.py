"""Safetensors files with metadata, atomic and with the same bytes for the same content."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from simhand_cli.workspace.atomic import atomic_path

_LENGTH = struct.Struct("<Q")


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors from any device to one file.

    Args:
        path: a .safetensors file.
        tensors: name -> tensor.
        metadata: what the file says about itself; readable without loading the tensors.
    """
    from safetensors.torch import save_file

    # Contiguous copies: safetensors refuses strided and shared memory.
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as part:
        save_file(copies, part, metadata=dict(metadata))
        part.chmod(0o644)  # the library writes files only their owner can read
        _sort_metadata(part)


def _sort_metadata(path: Path) -> None:
    """Put the metadata's keys in order: the library writes them in one that changes from run to run."""
    with path.open("r+b") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        # The tensors' places count from the header's end, so it must keep its length; spaces are part of the format.
        if len(content) > length:
            return
        file.seek(_LENGTH.size)
        file.write(content.ljust(length))
