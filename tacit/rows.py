"""Rows on their way in and out: samples, uploads, files that come in pieces, exports."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tacit.calls import Caller, path, some
from tacit.exports import FORMATS, iterate_lines, write_file
from tacit.payload import Progress, Source, payload, sample
from tacit.resumable import FROM, TUS, Sending
from tacit.transport import Call, Document, Parameters, new_key

if TYPE_CHECKING:
    import pandas as pd


class Rows(Caller):
    """What a caller may do with rows; `Client` is one of these."""

    def infer_schema(
        self,
        source: Source,
        *,
        media_type: str | None = None,
        null: Sequence[str] | None = None,
        delimiter: str | None = None,
    ) -> Document:
        """Propose `schema` and `policy` from the first mebibyte of a CSV or JSON file; `from_data`: what was read from values."""
        body = sample(source, media_type=media_type)
        call = Call(
            method="POST",
            path="/v1/schemas:infer",
            params={"null": list(null) if null else None, "delimiter": delimiter},
            headers=body.headers(),
            repeatable=True,
            body=lambda: body.pieces(None),
        )
        return some(self._transport.send(call))

    def upload(
        self,
        dataset: str,
        source: Source,
        *,
        media_type: str | None = None,
        encoding: str | None = None,
        mode: str | None = None,
        on_error: str | None = None,
        max_rejected: int | None = None,
        retention_days: int | None = None,
        null: Sequence[str] | None = None,
        delimiter: str | None = None,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
        resumable: bool | None = None,
        resume: str | None = None,
        began: Callable[[str], None] | None = None,
    ) -> Document:
        """Send a path, bytes, a binary file, a frame, a table or batches; return the report with its signed receipt.

        `on_error="skip"` leaves out rows at fault, at most `max_rejected`; `mode="replace"` takes the place of all earlier rows.
        The rows go `retention_days` after they were accepted, or sooner if the dataset says so.
        Sources over 16 MiB that can be read again go in pieces that each stay sent (`resumable`: always or never), through
        cut connections and restarts of the service. `began` is told the file's id, `resume` goes on with such a file.
        """
        body = payload(source, media_type=media_type, encoding=encoding)
        options: dict[str, str | int | None] = {"mode": mode, "on_error": on_error, "max_rejected": max_rejected}
        options |= {"delimiter": delimiter, "retention_days": retention_days}
        if resumable is None:
            resumable = resume is not None or (body.rewinds and (body.size or 0) > FROM)
        if resumable:
            said = options | {"null": ",".join(null) if null else None}
            more = {"key": idempotency_key, "progress": progress, "began": began, "resume": resume}
            return Sending.of(self._transport, dataset, body, said, **more).run()
        call = Call(
            method="POST",
            path=path("/v1/datasets", dataset, "uploads"),
            params={**options, "null": list(null) if null else None},
            headers=body.headers(),
            key=idempotency_key or new_key(),
            repeatable=body.rewinds,
            body=lambda: body.pieces(progress),
        )
        return some(self._transport.send(call))

    def list_uploads(self, dataset: str) -> Iterator[Document]:
        """Yield the uploads of a dataset."""
        return self._pages(path("/v1/datasets", dataset, "uploads"))

    def get_upload(self, dataset: str, upload: str) -> Document:
        """Return an upload's state, per-column report and receipt."""
        return self._get(path("/v1/datasets", dataset, "uploads", upload))

    def get_rejected(self, dataset: str, upload: str) -> Document:
        """Return row, column and rule of everything that was left out of an upload."""
        return self._get(path("/v1/datasets", dataset, "uploads", upload, "rejected"))

    def cancel_upload(self, dataset: str, upload: str) -> None:
        """Give up an upload that is still coming in."""
        self._delete(path("/v1/datasets", dataset, "uploads", upload))

    # Files that come in pieces, and become an upload

    def terminate_file(self, file: str) -> None:
        """End a file that is on its way: its bytes are gone at once."""
        self._transport.send(Call(method="DELETE", path=path("/v1/files", file), headers=TUS))

    def get_offset(self, file: str) -> int:
        """Return how many bytes of a file have come."""
        reply = self._transport.reply(Call(method="HEAD", path=path("/v1/files", file), headers=TUS))
        return int(reply.headers["Upload-Offset"])

    def get_file(self, file: str, *, wait: int = 0) -> Document:
        """Return a file's state, waiting up to so many seconds for its end: ready with its upload, or failed with the problem."""
        return self._get(path("/v1/files", file), {"wait": wait or None})

    def export_rows(
        self,
        dataset: str,
        to: "str | os.PathLike[str] | BinaryIO",
        *,
        purpose: str,
        format: str | None = None,  # noqa: A002 - the API's own word
        open: Sequence[str] = (),  # noqa: A002 - the API's own word
    ) -> int:
        """Write the rows to a path (its suffix says the format) or a binary file. An unprotected release (soundness R6)."""
        named = Path(to).suffix.lstrip(".") if isinstance(to, str | os.PathLike) else ""
        with self._transport.stream(self._export(dataset, purpose, format or FORMATS.get(named, "csv"), open)) as reply:
            return write_file(reply.iter_bytes(), to)

    def iterate_rows(self, dataset: str, *, purpose: str, open: Sequence[str] = ()) -> Iterator[dict[str, Any]]:  # noqa: A002
        """Yield the rows one by one as they stream in. An unprotected release (soundness R6)."""
        with self._transport.stream(self._export(dataset, purpose, FORMATS["jsonl"], open)) as reply:
            yield from iterate_lines(reply.iter_bytes())

    def export_frame(self, dataset: str, *, purpose: str, open: Sequence[str] = ()) -> "pd.DataFrame":  # noqa: A002
        """Return the rows as a pandas frame. An unprotected release (soundness R6)."""
        import io

        from tacit.frames import from_parquet

        whole = io.BytesIO()
        self.export_rows(dataset, whole, purpose=purpose, format=FORMATS["parquet"], open=open)
        whole.seek(0)
        return from_parquet(whole)

    def _export(self, dataset: str, purpose: str, form: str, opened: Sequence[str]) -> Call:
        params: Parameters = {"purpose": purpose, "format": form, "open": list(opened) or None}
        # Every try is a release of its own in the ledger: it is not repeated behind the caller's back.
        return Call(method="GET", path=path("/v1/datasets", dataset, "rows"), params=params, repeatable=False)
