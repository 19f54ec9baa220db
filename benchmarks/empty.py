"""The peer of `keys.single`: a FastAPI service with one endpoint that does nothing. `python -m benchmarks.empty PORT`."""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/")
def nothing() -> dict[str, str]:
    """Do nothing."""
    return {}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)
