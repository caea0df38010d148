"""The shop's front: asks orders for one order a visit."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

import shop

ARTICLES = ("tea", "cup", "kettle", "honey")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with shop.caller() as client:
        app.state.client = client
        yield


app = FastAPI(title="web", lifespan=lifespan)


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "up"}


@app.get("/")
async def visit() -> dict[str, object]:
    client: httpx.AsyncClient = app.state.client
    article = random.choice(ARTICLES)  # noqa: S311 - which article is no secret
    answer = await client.get(f"http://orders.default/order/{article}")
    answer.raise_for_status()
    return {"web": os.getpid(), "order": answer.json()}


if __name__ == "__main__":
    shop.run("web", app)
