"""The loaded model behind its hooks: requests in, answers out, errors as answers.

`HookedModel` calls the hooks request by request. `RowModel` adds the short way for models known
to treat each row alone, as long as none of the user's own hooks stands in between: the rows of
several requests are predicted by one call and split again.
"""

import logging
from typing import Any

from loopwright.runtime.server import codecs
from loopwright.runtime.server.exchange import (
    JSON,
    Answer,
    Exchange,
    RequestRefused,
    answer_of_failure,
    media_type,
)
from loopwright.runtime.server.frameworks.base import Framework, RowPredict
from loopwright.runtime.server.hooks import Context, Hook, UserHooks, answer_of, streamed

CELLS_MAX = 16_384
"""How many numbers requests are joined to. Larger tables cost more than joining them saves: their
objects and arrays no longer fit the caches and are taken from the system anew each time (measured:
100 rows of 64 columns from 32 clients took 2.2 times the CPU in tables of 64,000 numbers)."""
_log = logging.getLogger(__name__)


class HookedModel:
    """A model, the user's hooks, and a framework's defaults for the hooks that are missing."""

    together = False

    def __init__(
        self, model: Any, folder: str, hooks: UserHooks, framework: Framework, accept: str
    ) -> None:
        """`accept` is used for requests that name none, `folder` is the model's."""
        self._model = model
        self._folder = folder
        self._framework = framework
        self._accept = accept
        self._own_output = hooks.get("output_fn") or hooks.get("transform_fn")
        self._own_input = hooks.get("input_fn")
        self._transform = hooks.get("transform_fn")
        self._predict: Hook = hooks.get("predict_fn") or (
            lambda content, model, context: framework.predict(content, model)
        )

    def answer_many(self, exchanges: list[Exchange]) -> list[Answer]:
        """One answer for each request, one call of the hooks after the other."""
        return [self.answer(exchange) for exchange in exchanges]

    def answer(self, exchange: Exchange) -> Answer:
        """Answer one request; whatever goes wrong becomes the answer's status and text."""
        try:
            return self._answer(exchange)
        except Exception as error:  # noqa: BLE001  # the log has its traceback, the client its text
            return answer_of_failure(error)

    def _answer(self, exchange: Exchange) -> Answer:
        if not exchange.body and self._framework.empty_status and not self._own_input:
            return Answer(self._framework.empty_status, b"", "")
        context = Context(self._folder, exchange)
        accept = self.accept_of(exchange)
        if self._transform is not None:
            body, content_type = _for_hook(exchange)
            result = self._transform(self._model, body, content_type, accept, context)
            return answer_of(result, accept, context, _as_json)
        if self._own_input is not None:
            content = self._own_input(*_for_hook(exchange), context)
        else:
            media = media_type(exchange.headers.get(b"content-type"))
            content = self._framework.read(exchange.body, media, self._model)
        prediction = self._predict(content, self._model, context)
        if self._own_output is not None:
            return answer_of(
                self._own_output(prediction, accept, context), accept, context, _as_json
            )
        media = context.content_type or accept
        if hasattr(prediction, "__next__"):
            return streamed(prediction, context.status, media, context.headers)
        body = self._framework.write(prediction, accept)
        return Answer(context.status, body, media, context.headers or None)

    def accept_of(self, exchange: Exchange) -> str:
        """The content type to answer with.

        The user's own output hook gets what the client wrote; the default one the first media
        type in it that it can write.

        Raises:
            RequestRefused: 406 if there is none.
        """
        raw = exchange.headers.get(b"accept")
        if self._framework.accept_is_content_type and self._own_output is None:
            media = media_type(exchange.headers.get(b"content-type"))
            return media if media in self._framework.accepts else self._accept
        if not raw or raw == b"*/*":
            return self._accept
        if self._own_output is not None:
            return raw.decode("latin-1")
        known = self._framework.accepts
        whole = raw.replace(b" ", b"").lower().decode("latin-1")
        for exact in (whole, media_type(raw)):
            if exact in known:
                return exact
        for choice in raw.split(b","):
            media = media_type(choice)
            if media == "*/*":
                return self._accept
            for candidate in known:
                if media == candidate or media == candidate.partition("/")[0] + "/*":
                    return candidate
        raise codecs.refused_accept(raw.decode("latin-1"), known)


class RowModel(HookedModel):
    """A model that treats each row alone, with the default input, predict and output functions."""

    together = True

    def __init__(
        self,
        predict_rows: RowPredict,
        model: Any,
        folder: str,
        framework: Framework,
        accept: str,
    ) -> None:
        super().__init__(model, folder, UserHooks({}), framework, accept)
        self._predict_rows = predict_rows

    def answer_many(self, exchanges: list[Exchange]) -> list[Answer]:
        """One answer for each request, from as few predictions as the bound on numbers allows.

        A request that is not a plain table is answered by itself; so are all requests of a
        prediction that fails, hence no request sees another's error.
        """
        answers: dict[Exchange, Answer] = {}
        joined: list[tuple[Exchange, str, int]] = []
        rows: list[list[Any]] = []
        cells = 0
        for exchange in exchanges:
            own = self._plain(exchange)
            if own is None:
                answers[exchange] = self.answer(exchange)
                continue
            size = len(own[1]) * len(own[1][0])
            if rows and cells + size > CELLS_MAX:
                self._predict_joined(joined, rows, answers)
                joined, rows, cells = [], [], 0
            cells += size
            joined.append((exchange, own[0], len(own[1])))
            rows.extend(own[1])
        if joined:
            self._predict_joined(joined, rows, answers)
        return [answers[exchange] for exchange in exchanges]

    def _plain(self, exchange: Exchange) -> tuple[str, list[list[Any]]] | None:
        headers = exchange.headers
        rows = codecs.plain_rows(exchange.body, media_type(headers.get(b"content-type")))
        if rows is None:
            return None
        raw = headers.get(b"accept")
        if not raw or raw == b"*/*":
            return self._accept, rows
        accept = media_type(raw)
        return (accept, rows) if accept in self._framework.value_accepts else None

    def _predict_joined(
        self,
        joined: list[tuple[Exchange, str, int]],
        rows: list[list[Any]],
        answers: dict[Exchange, Answer],
    ) -> None:
        values = self._values(rows)
        if values is None:
            for exchange, _, _ in joined:
                answers[exchange] = self.answer(exchange)
            return
        start = 0
        write = self._framework.write_values
        for exchange, accept, count in joined:
            body = write(values[start : start + count], accept)
            answers[exchange] = Answer(200, body, accept)
            start += count

    def _values(self, rows: list[list[Any]]) -> list[Any] | None:
        """The predictions as a list with one element a row; None if they must be made singly."""
        array = codecs.table(rows)
        if array is None:
            return None
        try:
            prediction = self._predict_rows(array)
        except Exception as error:  # noqa: BLE001  # each request reports its own error, with log
            _log.debug("Predicting together failed: %s", error)
            return None
        if getattr(prediction, "shape", ())[:1] != (len(rows),):
            return None
        values: list[Any] = prediction.tolist()
        return values


def _for_hook(exchange: Exchange) -> tuple[bytes | str, str]:
    """The body and content type as hooks get them: JSON and CSV as text, all else as bytes."""
    raw = exchange.headers.get(b"content-type")
    content_type = (raw or b"").decode("latin-1")
    if media_type(raw) not in codecs.TEXT_TYPES:
        return exchange.body, content_type
    try:
        return exchange.body.decode("utf-8"), content_type
    except UnicodeDecodeError as error:
        raise RequestRefused(400, f"The body is not UTF-8: {error}.") from error


def _as_json(values: Any) -> bytes:
    return codecs.encode(values, JSON)
