"""`studio`: a local web page to look at a collection or a run, and to work on it."""

from __future__ import annotations

from typing import Annotated, Any

from fallow import declare, verbs
from fallow.outcomes import Result
from fallow.studio.desk import Desk, Verbs
from fallow.studio.serve import serve


@declare.verb(example="fallow studio photos/")
def studio(
    source: Annotated[
        Any, declare.Option("folder or other source of images, or a run", argument=True)
    ] = ".",
    *,
    pictures: Annotated[Any, declare.Option("where a run's pictures are now")] = None,
    encoder: declare.EncoderName = None,
    words: Annotated[Any, declare.Option("run of align, to search by words")] = None,
    port: Annotated[int, declare.Option("0: any free one", int)] = 0,
    host: Annotated[str, declare.Option("who may reach it: this machine alone")] = "127.0.0.1",
    browser: Annotated[bool | None, declare.Option("open one", bool)] = None,
    tell: declare.Tell = declare.silent,
) -> Result:
    """Open a local web page on a folder of images or on a run, until it is interrupted.

    The address holds a token of this session; it is served to this machine alone unless `host`
    says otherwise. Labels given there are kept beside the run, or in fallow's data folder.
    """
    known = Verbs(verbs.names(), verbs.declaration, verbs.summary, verbs.by_purpose())
    desk = Desk.opened(source, pictures, encoder=encoder, words=words, verbs=known)
    serve(desk, host=host, port=port, browser=browser is not False, tell=tell)
    return Result(desk.table, headlines=[f"{desk.version:,} versions of labels in {desk.place}"])
