"""Inventory: how much of an article is left."""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException

import shop

app = FastAPI(title="inventory")
STOCK = {"tea": 120, "cup": 40, "kettle": 7, "honey": 63}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "up"}


@app.get("/stock/{article}")
def stock(article: str) -> dict[str, object]:
    if article not in STOCK:
        raise HTTPException(404, f"no such article: {article}")
    return {"article": article, "left": STOCK[article], "inventory": os.getpid()}


if __name__ == "__main__":
    shop.run("inventory", app)
