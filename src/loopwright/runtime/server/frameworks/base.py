"""The defaults that all frameworks share, and the seam where they differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.server import codecs

Array = np.ndarray[Any, np.dtype[Any]]
# (rows, columns) float64 -> one prediction a row along the first axis.
RowPredict = Callable[[Array], Any]


class Framework:
    """Defaults for hooks. Stateless; the model is always an argument.

    Attributes:
        accept: Content type of answers to requests that name none.
        accepts: What `write` can write.
        value_accepts: What `write_values` can write.
        empty_status: Status for requests without body, or None to decode them like any other.
        accept_is_content_type: Whether answers have the request's content type, whatever Accept is.
    """

    accept = codecs.JSON
    accepts: tuple[str, ...] = codecs.ENCODED
    value_accepts: tuple[str, ...] = (codecs.JSON, codecs.CSV, codecs.JSON_LINES)
    empty_status: int | None = None
    accept_is_content_type = False

    def load(self, folder: Path) -> Any:
        """The default model_fn.

        Raises:
            UnitFailure: this framework has none, or the folder holds no model for it.
        """
        raise UnitFailure(
            "The script defines no model_fn and this framework has no default: write "
            "model_fn(model_dir) so that it loads and returns the model."
        )

    def read(self, body: bytes, media: str, model: Any) -> Any:
        """The default input_fn; raises RequestRefused."""
        return codecs.decode(body, media)

    def predict(self, content: Any, model: Any) -> Any:
        """The default predict_fn."""
        if hasattr(model, "predict"):
            return model.predict(content)
        if callable(model):
            return model(content)
        raise TypeError(f"A {type(model).__name__} has no predict; write predict_fn(data, model).")

    def write(self, prediction: Any, accept: str) -> bytes:
        """The default output_fn; raises RequestRefused."""
        return codecs.encode(prediction, accept)

    def write_values(self, values: list[Any], accept: str) -> bytes:
        """The same for a list of predictions, one a row."""
        return codecs.encode_values(values, accept)

    def rows(self, model: Any) -> RowPredict | None:
        """The model as a function of rows if it is known to treat each row alone, else None."""
        return None
