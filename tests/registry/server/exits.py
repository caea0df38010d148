"""An application that ends its process before it serves, as a node does that cannot start."""

import os


async def app(scope: object, receive: object, send: object) -> None:
    os._exit(74)
