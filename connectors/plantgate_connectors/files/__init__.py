"""CSV and JSON-lines files, in and out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

from plantgate.sdk import Connector, Context, Finding, Rejected, Sink, Source, Survey
from plantgate_connectors.files.settings import FilesSettings

__all__ = ["Files", "FilesSettings"]


class Files(Connector[FilesSettings]):
    """Reads and writes files; a section `read` makes it a source, a section `write` a destination."""

    Settings = FilesSettings

    def __init__(self, settings: FilesSettings, context: Context) -> None:
        super().__init__(settings, context)
        # One thread for all sessions: what one of them left under way is done before the next begins.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"files {context.connection}")

    def source(self) -> AbstractAsyncContextManager[Source]:
        """Gives the rows of the files, from what was acknowledged last."""
        from plantgate_connectors.files.source import file_source

        if self.settings.read is None:
            raise Rejected(f"{self.context.connection}: a flow reads from it, and it has no section read:")
        return file_source(self.settings.read, self.context, self._thread)

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """Appends to files; accepted means on disk."""
        from plantgate_connectors.files.sink import file_sink

        if self.settings.write is None:
            raise Rejected(f"{self.context.connection}: a flow writes to it, and it has no section write:")
        return file_sink(self.settings.write, self.context, self._thread)

    @classmethod
    def objection(cls, settings: FilesSettings, *, source: bool) -> str:
        """A section for each role."""
        if source and settings.read is None:
            return "has no section `read`, so no flow can read from it"
        if not source and settings.write is None:
            return "has no section `write`, so no flow can write to it"
        return ""

    async def survey(self) -> Survey:
        """Which files there are, what their first rows would give, and whether the folder can be written to."""
        from plantgate_connectors.files.survey import survey

        findings: tuple[Finding, ...] = await asyncio.to_thread(survey, self.settings)
        return Survey(findings)
