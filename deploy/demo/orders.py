"""Orders: makes an order of what inventory has. Version 2 also says when it will arrive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import shop

PRICES = {"tea": 4, "cup": 9, "kettle": 39, "honey": 7}
numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with shop.caller() as client:
        app.state.client = client
        yield


app = FastAPI(title="orders", lifespan=lifespan)


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "up"}


@app.get("/order/{article}")
async def order(article: str) -> dict[str, object]:
    client: httpx.AsyncClient = app.state.client
    answer = await client.get(f"http://inventory.default/stock/{article}")
    answer.raise_for_status()
    made: dict[str, object] = {
        "order": next(numbers),
        "article": article,
        "price": PRICES.get(article, 1),
        "stock": answer.json(),
        "orders": os.getpid(),
        "version": shop.VERSION,
    }
    if shop.VERSION != "1":
        made["arrives_in_days"] = 2
    return made


@app.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Send a heartbeat a second, and echo whatever the caller says."""
    await socket.accept()

    async def beat() -> None:
        for number in itertools.count():
            await socket.send_json({"beat": number, "orders": os.getpid()})
            await asyncio.sleep(1)

    task = asyncio.create_task(beat())
    try:
        while True:
            await socket.send_json({"echo": await socket.receive_text()})
    except WebSocketDisconnect:
        task.cancel()


if __name__ == "__main__":
    shop.run("orders", app)
