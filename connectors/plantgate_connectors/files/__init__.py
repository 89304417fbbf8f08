"""CSV and JSON-lines files, in and out."""

import asyncio
from contextlib import AbstractAsyncContextManager

from plantgate.sdk import Connector, Finding, Rejected, Sink, Source, Survey
from plantgate_connectors.files.settings import FilesSettings

__all__ = ["Files", "FilesSettings"]


class Files(Connector[FilesSettings]):
    """Reads and writes files; a section `read` makes it a source, a section `write` a destination."""

    Settings = FilesSettings

    def source(self) -> AbstractAsyncContextManager[Source]:
        """Gives the rows of the files, from what was acknowledged last."""
        from plantgate_connectors.files.source import file_source

        if self.settings.read is None:
            raise Rejected(f"{self.context.connection}: a flow reads from it, and it has no section read:")
        return file_source(self.settings.read, self.context)

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """Appends to files; accepted means on disk."""
        from plantgate_connectors.files.sink import file_sink

        if self.settings.write is None:
            raise Rejected(f"{self.context.connection}: a flow writes to it, and it has no section write:")
        return file_sink(self.settings.write, self.context)

    async def survey(self) -> Survey:
        """Which files there are, what their first rows would give, and whether the folder can be written to."""
        from plantgate_connectors.files.survey import survey

        findings: tuple[Finding, ...] = await asyncio.to_thread(survey, self.settings)
        return Survey(findings)
