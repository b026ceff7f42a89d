"""The router of FastAPI (Starlette), served by uvicorn. Answers which of its handlers was asked."""

import sys

import uvicorn
from fastapi import FastAPI, Request, Response

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

app = FastAPI()


def answer(handler: str, request: Request) -> Response:
    return Response(f"{handler} {request.method}", headers={"x-handler": handler})


@app.api_route("/admin", methods=METHODS)
@app.api_route("/admin/{rest:path}", methods=METHODS)
def admin(request: Request) -> Response:
    return answer("admin", request)


slashes = FastAPI()


@slashes.api_route("/items/", methods=METHODS)
async def items(request: Request) -> Response:
    body = await request.body()
    return Response(f"{request.method} {request.url.path} {body.decode()}", headers={"x-handler": "items"})


app.mount("/slashes", slashes)


@app.api_route("/{rest:path}", methods=METHODS)
def other(request: Request) -> Response:
    return answer("other", request)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
