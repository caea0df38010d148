"""An application whose startup never ends, as a node's may while it recovers a long log."""

import time


async def app(scope: object, receive: object, send: object) -> None:
    time.sleep(600)
