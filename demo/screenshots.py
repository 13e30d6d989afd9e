"""Pictures of the Ray dashboard and of MLflow for the README, taken in headless Chromium."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console import stage
from demo.processes import DemoError
from training.registry import CHAMPION, Registry, client

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1440, 810)
# A browser that looks for updates or for its maker's servers only waits where there is no network.
OFFLINE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TOKEN_FILE = Path("~/.ray/auth_token")
TOKEN_COOKIE = "ray-authentication-token"  # noqa: S105 - the name of the cookie
WAIT_MILLISECONDS = 60_000


@dataclass(frozen=True)
class Picture:
    """A page, and the text on it that says that it has loaded."""

    file: str
    url: str
    shows: str


def take(folder: Path, *, dashboard: str, mlflow: str, model: str) -> None:
    """Take a picture of each page while the demo runs.

    Raises:
        DemoError: there is no Chromium or no Playwright, or a page does not show what it should.
    """
    version = Registry(mlflow).resolve(model, CHAMPION)
    run = client(mlflow).get_run(version.run_id).info
    folder.mkdir(parents=True, exist_ok=True)
    run_page = f"{mlflow}/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    pictures = (
        Picture("ray-dashboard.png", f"{dashboard}/#/serve", "ingress"),
        Picture(
            "mlflow-run.png",
            f"{run_page}/model-metrics",
            "epoch_seconds",
        ),
        Picture("mlflow-version.png", f"{mlflow}/#/models/{model}/versions/{version.version}", "model.sha256"),
    )
    with _browser() as browser:
        for picture in pictures:
            with stage(f"take {folder / picture.file}"):
                _take(browser, folder / picture.file, picture)


@contextlib.contextmanager
def _browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise DemoError("playwright is not installed: make test installs what development needs") from error
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise DemoError("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(OFFLINE))
        try:
            yield browser
        finally:
            browser.close()


def _take(browser: Browser, file: Path, picture: Picture) -> None:
    from playwright.sync_api import Error

    context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
    token = TOKEN_FILE.expanduser()
    if token.is_file():
        context.add_cookies([{"name": TOKEN_COOKIE, "value": token.read_text().strip(), "url": picture.url}])
    try:
        page = context.new_page()
        page.goto(picture.url)
        page.get_by_text(picture.shows).first.wait_for(timeout=WAIT_MILLISECONDS)
        page.wait_for_timeout(3000)  # charts are drawn after their texts
        page.screenshot(path=file)
    except Error as error:
        raise DemoError(f"{picture.url} does not show {picture.shows!r}: {str(error).splitlines()[0]}") from error
    finally:
        context.close()
