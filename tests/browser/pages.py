"""The pages of the Prefect UI, as a person finds their way: by names of links, buttons and fields.

The interface that Prefect 3.8 opens by default. Its pages ask the server again and again, but not
all of what they show: a tab that was opened early is opened again.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.servers.process import MissingServerError

SECONDS = 120  # on a machine that does other things; what is there is not waited for
_WIDTH, _HEIGHT = 1280, 960
# Prefect's pages ask for pictures and news on the internet; tests do not.
_OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@contextmanager
def browser(ui: str) -> Generator[Pages]:
    """Run Chromium; screenshots go to the folder PREFECT_DATASETS_SCREENSHOTS, if it is set."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise MissingServerError("chromium is not installed")
    folder = os.environ.get("PREFECT_DATASETS_SCREENSHOTS", "")
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=_OPTIONS)
        context = running.new_context(viewport={"width": _WIDTH, "height": _HEIGHT})
        context.set_default_timeout(SECONDS * 1000)
        yield Pages(context.new_page(), ui, Path(folder) if folder else None)
        running.close()


@dataclass
class Pages:
    """A browser's window.

    Attributes:
        page: What Playwright drives.
        ui: Address of the Prefect UI.
        folder: Where screenshots go.
    """

    page: Page
    ui: str
    folder: Path | None

    @property
    def main(self) -> Locator:
        """What is beside the menu."""
        return self.page.get_by_role("main").last

    def open(self, path: str) -> None:
        """Go to a page by its address."""
        self.page.goto(f"{self.ui}/v2{path}", wait_until="commit")

    def menu(self, name: str) -> None:
        """Go to a page by the menu at the left."""
        self.page.get_by_role("link", name=name, exact=True).first.click()

    def tab(self, name: str) -> Locator:
        """Open a tab anew, and return what is in it."""
        for other in ("Details", name):
            self.page.get_by_role("tab", name=other, exact=True).first.click()
        return self.page.get_by_role("tabpanel", name=name)

    def shoot(self, name: str, *, height: int = _HEIGHT) -> None:
        """Take a picture of the window, made higher for it where there is more to see."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.page.set_viewport_size({"width": _WIDTH, "height": height})
        self.page.wait_for_timeout(1_500)  # what fades in is in
        self.page.screenshot(path=self.folder / f"{name}.png")
        self.page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})

    def sees(self, where: Locator, text: str) -> None:
        """Wait until a text is to be read somewhere."""
        expect(where.get_by_text(text).first).to_be_visible()

    def until_shown(self, look: Callable[[], Locator]) -> bool:
        """Look again and again, as a person does; tell whether it came."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if look().first.is_visible():
                return True
            self.page.wait_for_timeout(500)
        return False

    # -- forms ------------------------------------------------------------------------------

    def write(self, **fields: str) -> None:
        """Fill in text fields, by the beginnings of their titles."""
        for title, text in fields.items():
            self.field("textbox", title.replace("_", " ")).fill(text)

    def choose(self, title: str, option: str) -> None:
        """Choose from a list."""
        self.page.get_by_role("button", name=f"Select {title}").click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def pick_block(self, name: str) -> None:
        """Choose a saved block."""
        self.page.get_by_role("button", name="Select a block").click()
        self.page.get_by_role("option", name=name, exact=True).click()

    def json_fields(self) -> list[Locator]:
        """Return the fields that take JSON, from the top; they have no names."""
        editors = self.page.locator("[role=textbox][contenteditable=true]")
        expect(editors.first).to_be_visible()
        return editors.all()

    def field(self, role: str, title: str) -> Locator:
        """Return a field of the form."""
        name = re.compile(rf"^{re.escape(title)}( \(Optional\))?$")
        return self.page.get_by_role(role, name=name)  # type: ignore[arg-type]

    # -- runs -------------------------------------------------------------------------------

    def deployment(self, name: str) -> None:
        """Go to a deployment's page, by its address: the list has ten on a page."""
        body = {"deployments": {"name": {"any_": [name]}}}
        reply = self.page.request.post(f"{self.ui}/api/deployments/filter", data=body)
        (found,) = reply.json()
        self.open(f"/deployments/deployment/{found['id']}")
        expect(self.page.get_by_role("button", name="Run", exact=True)).to_be_visible()

    def form(self, deployment: str) -> None:
        """Open the form of a deployment's run."""
        self.deployment(deployment)
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        expect(self.page.get_by_role("button", name="Submit")).to_be_enabled()

    def submit(self) -> None:
        """Submit the form, and follow the link to the run."""
        self.page.get_by_role("button", name="Submit").click()
        self.page.get_by_role("link", name="View run").click()
        self.page.wait_for_url("**/flow-run/**")

    def wait_for(self, state: str) -> None:
        """Watch the run until it is in a state."""
        expect(self.main.get_by_text(state, exact=True).first).to_be_visible()

    def artifact(self, name: str | re.Pattern[str]) -> Locator:
        """Open an artifact of the run, and return what it shows."""
        self.tab("Artifacts").get_by_role("link", name=name).first.click()
        return self.newest()

    def newest(self) -> Locator:
        """Open the newest artifact of those with one key, where there are several."""
        entry = self.main.locator("a[href*='/artifacts/artifact/']").first
        # Exactly: the tab of a run's artifacts is called Artifacts.
        shown = self.page.get_by_role("tabpanel", name="Artifact", exact=True)
        expect(entry.or_(shown).first).to_be_visible()

        def opened() -> Locator:
            if not shown.is_visible() and entry.is_visible():
                entry.click()  # which does nothing while the page is still coming to life
            return shown

        self.until_shown(opened)
        return shown
