"""The application: pages for people under ``/``, the same as JSON under ``/api``. It only ever reads."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toros.errors import FileMissing, TorosError, Transient, Unprocessable
from toros.web import api, board
from toros.web.archive import OpenArchive
from toros.web.pages import render

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


def create_app(guard: Callable[..., object], open_archive: OpenArchive) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    guard : callable
        A FastAPI dependency that lets a request pass or raises; every single route asks it.
    open_archive : callable
        Returns the archive to look at; called once per request.
    """
    # The built-in documentation pages would be open to everybody, and they load scripts from elsewhere.
    app = FastAPI(
        title="TOROS", dependencies=[Depends(guard)], docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.open_archive = open_archive
    app.include_router(board.router)
    app.include_router(api.router, prefix="/api")
    app.add_middleware(_SecurityHeaders)
    app.add_exception_handler(HTTPException, _tell_refusal)
    app.add_exception_handler(RequestValidationError, _tell_bad_request)
    app.add_exception_handler(TorosError, _tell_trouble)
    return app


class _SecurityHeaders:
    """Adds the security headers to whatever is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


# ------------------------------------------------------------------------------------------------- errors


async def _tell_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    advice = "log in to Airflow, then load this page again" if error.status_code == 401 else ""
    answer = _tell(request, error.status_code, error.detail, advice)
    answer.headers.update(error.headers or {})
    return answer


async def _tell_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    return _tell(request, 422, "This address cannot be understood", wrong)


async def _tell_trouble(request: Request, error: Exception) -> Response:
    assert isinstance(error, TorosError)
    return _tell(request, _status_of(error), f"{error.message} [{error.code}]", error.advice)


def _status_of(error: TorosError) -> int:
    if isinstance(error, FileMissing):
        return 404
    if isinstance(error, Unprocessable):
        return 422
    return 503 if isinstance(error, Transient) else 500


def _tell(request: Request, status: int, what: str, advice: str) -> Response:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if path.startswith("/api/"):
        return JSONResponse({"error": what, "advice": advice}, status)
    return render(request, "error.html", status, what=what, advice=advice)
