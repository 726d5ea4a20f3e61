"""PyTorch: tensors in and out, as the public sagemaker-pytorch-inference-toolkit has them."""

from pathlib import Path
from typing import Any

import torch

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.server import codecs
from loopwright.runtime.server.frameworks.base import Framework

MODEL_NAMES = ("model.pt", "model.pth")


def device() -> torch.device:
    """The first visible GPU, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class PyTorch(Framework):
    """The defaults of the PyTorch container."""

    def load(self, folder: Path) -> Any:
        path = next((folder / name for name in MODEL_NAMES if (folder / name).is_file()), None)
        if path is None:
            raise UnitFailure(
                f"{folder} has neither model.pt nor model.pth, and the script defines no model_fn."
            )
        model = _load_any(path)
        if not isinstance(model, torch.nn.Module):
            raise UnitFailure(
                f"{path} holds a {type(model).__name__}, not a module (a state_dict needs its "
                "class); write model_fn(model_dir) so that it builds the module and loads it."
            )
        return model.to(device()).eval()

    def read(self, body: bytes, media: str, model: Any) -> Any:
        array = codecs.decode(body, media)
        if media in codecs.TEXT_TYPES:
            return torch.tensor(array, dtype=torch.float32, device=device())
        return torch.from_numpy(array).to(device())

    def predict(self, content: Any, model: Any) -> Any:
        with torch.no_grad():
            if isinstance(model, torch.nn.Module):
                model = model.to(device()).eval()
            return model(content)

    def write(self, prediction: Any, accept: str) -> bytes:
        if isinstance(prediction, torch.Tensor):
            prediction = prediction.detach().cpu().numpy()
        return codecs.encode(prediction, accept)


def _load_any(path: Path) -> Any:
    try:
        return torch.jit.load(str(path), map_location=device())  # type: ignore[no-untyped-call]
    except RuntimeError:
        # Not TorchScript: a module saved whole. Its pickle runs code of the model's owner, inside
        # the owner's unit.
        return torch.load(path, map_location=device(), weights_only=False)


framework = PyTorch()
