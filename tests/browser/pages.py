"""The pages of the Prefect UI, as a person finds their way: by names of links, buttons and fields.

The interface that Prefect 3.8 opens by default. What it shows is not always what there is:

- A page asks the server for some of it again and again, and for the rest once. So what is looked
  for is first asked of the server; then its page is opened, and anew where it does not show it.
- What is pressed while a page comes to life may do nothing: it is pressed until its effect is seen.
- The note that leads from a form to its run is gone after some seconds: the run's number is taken
  from the server's answer.
- SQLite refuses to write where another did meanwhile; the server answers 503 to the page, which
  says so and goes on: it is pressed again.
- Of a log those lines are drawn that are in view: it is scrolled.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator, Page, Response, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

from tests.servers.prefect import PrefectServer
from tests.servers.process import MissingServerError

T = TypeVar("T")

SECONDS = 120  # on a machine that does other things; what is there is not waited for
RUN_SECONDS = 240  # for a run, which starts a process and has that import Prefect
_PATIENCE = (10, 20, 40, 60)  # seconds with a page, until it is opened anew
_WIDTH, _HEIGHT = 1280, 960
# Prefect's pages ask for pictures and news on the internet; tests do not.
_OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
# A run's picture is drawn sixty times a second, without a graphics card by the processor: five are
# enough, unless it is photographed.
_SLOW_MOTION = """
window.requestAnimationFrame = draw => setTimeout(() => draw(performance.now()), 200);
window.cancelAnimationFrame = drawing => clearTimeout(drawing);
"""
_ENDED = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")


@contextmanager
def browser(server: PrefectServer, folder: Path) -> Generator[Pages]:
    """Run Chromium.

    Args:
        server: Whose pages are looked at.
        folder: Where the servers' logs are, and pictures of tests that failed go.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise MissingServerError("chromium is not installed")
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=_OPTIONS)
        # An event's address has the day it occurred on by the browser's clock.
        context = running.new_context(
            viewport={"width": _WIDTH, "height": _HEIGHT}, timezone_id="UTC"
        )
        context.set_default_timeout(SECONDS * 1000)
        if not _pictures():
            context.add_init_script(_SLOW_MOTION)
        yield Pages(context.new_page(), server, folder)
        running.close()


@dataclass
class Pages:
    """A browser's window.

    Attributes:
        page: What Playwright drives.
        server: Whose pages these are.
        folder: Where logs are, and pictures of failures go.
        run: The id of the flow run that was submitted last.
    """

    page: Page
    server: PrefectServer
    folder: Path
    run: str = ""
    _done: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    _complaints: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        """Note what the pages complain about."""
        self.page.on("pageerror", lambda error: self._complaints.append(str(error)))
        self.page.on("response", self._answered)

    def _answered(self, reply: Response) -> None:
        if not reply.ok and reply.status != HTTPStatus.NOT_MODIFIED:
            self._complaints.append(f"{reply.status} {reply.request.method} {reply.url}")

    @property
    def main(self) -> Locator:
        """What is beside the menu."""
        return self.page.get_by_role("main").last

    @property
    def run_path(self) -> str:
        """Address of the run's page."""
        return f"/runs/flow-run/{self.run}"

    # -- finding the way --------------------------------------------------------------------

    def open(self, path: str) -> None:
        """Go to a page by its address."""
        self._note(f"open {path}")
        self.page.goto(f"{self.server.ui}/v2{path}", wait_until="commit")

    def see(self, path: str, thing: Locator) -> Locator:
        """Open a page, and anew if need be, until it shows something; return that."""
        for patience in _PATIENCE:
            self.open(path)
            with suppress(TooLate):
                thing.first.wait_for(timeout=patience * 1000)
                return thing.first
        raise AssertionError(f"{path} never showed {thing}")

    def press(self, button: Locator, effect: Locator) -> Locator:
        """Press a button until its effect is seen; return that."""
        self._note(f"press {button}")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with suppress(TooLate):
                button.first.click(timeout=10_000)
            with suppress(TooLate):
                effect.first.wait_for(timeout=10_000)
                return effect.first
        raise AssertionError(f"Pressing {button} never showed {effect}")

    def press_until_gone(self, button: Locator) -> None:
        """Press a button until it is gone: a server that is busy may refuse what it sends."""
        self._note(f"press {button}")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with suppress(TooLate):
                button.click(timeout=10_000)
            with suppress(TooLate):
                button.wait_for(state="hidden", timeout=10_000)
                return
        raise AssertionError(f"Pressing {button} did nothing")

    def until(self, what: str, look: Callable[[], T | None], *, seconds: float = SECONDS) -> T:
        """Ask again and again until there is an answer; return it."""
        self._note(f"wait for {what}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError):  # not there yet, or a server that is busy
                if found := look():
                    return found
            self.page.wait_for_timeout(200)
        raise AssertionError(f"Not within {seconds} s: {what}")

    def sees(self, where: Locator, text: str) -> None:
        """Wait until a text is to be read somewhere."""
        self._note(f"look for {text!r}")
        expect(where.get_by_text(text).first).to_be_visible()

    # -- forms ------------------------------------------------------------------------------

    def write(self, **fields: str) -> None:
        """Fill in text fields, by the beginnings of their titles."""
        for title, text in fields.items():
            self.field("textbox", title.replace("_", " ")).fill(text)
        for title, text in fields.items():
            expect(self.field("textbox", title.replace("_", " "))).to_have_value(text)

    def choose(self, title: str, option: str) -> None:
        """Choose from a list."""
        self._pick(f"Select {title}", option)

    def pick_block(self, name: str) -> None:
        """Choose a saved block."""
        self._pick("Select a block", name)

    def _pick(self, button: str, option: str) -> None:
        offered = self.page.get_by_role("option", name=option, exact=True)
        self.press(self.page.get_by_role("button", name=button), offered).click()

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

    def deployment(self, name: str) -> str:
        """Return the address of a deployment's page: the list has ten on a page."""
        body = {"deployments": {"name": {"any_": [name]}}}
        (found,) = self.server.ask("deployments/filter", body)
        return f"/deployments/deployment/{found['id']}"

    def form(self, deployment: str) -> None:
        """Open the form of a deployment's run."""
        run = self.page.get_by_role("button", name="Run", exact=True)
        self.see(self.deployment(deployment), run)
        custom = self.page.get_by_role("menuitem", name="Custom run")
        submit = self.page.get_by_role("button", name="Submit")
        self.press(run, custom)
        self.press(custom, submit)
        expect(submit).to_be_enabled()

    def submit(self) -> None:
        """Submit the form, again while the server is busy, and go to the run."""
        self.run = self.until("a run", self._submitted)
        self.see(self.run_path, self.page.get_by_role("tab", name="Logs"))

    def _submitted(self) -> str | None:
        with self.page.expect_response("**/create_flow_run") as reply:
            self.page.get_by_role("button", name="Submit").click()
        answer = reply.value
        assert answer.ok or answer.status == HTTPStatus.SERVICE_UNAVAILABLE, answer.text()
        return answer.json()["id"] if answer.ok else None

    def wait_for(self, state: str) -> None:
        """Wait until the run is in a state, and its page says so."""
        self.until(f"state {state}", lambda: self._is(state), seconds=RUN_SECONDS)
        self.see(self.run_path, self.main.get_by_text(state, exact=True))

    def _is(self, state: str) -> bool:
        now = self.server.ask(f"flow_runs/{self.run}")["state"]
        if now["name"] in _ENDED and now["name"] != state:
            raise AssertionError(f"The run is {now['name']} and not {state}: {now['message']}")
        return now["name"] == state

    def logged(self, text: str) -> None:
        """See a line in the run's log."""
        self.until(f"log {text!r}", lambda: any(text in line for line in self._log()))
        panel = self.page.get_by_role("log")
        line = panel.get_by_text(text)

        def scrolled() -> bool:
            if not line.first.is_visible():
                panel.evaluate("it => it.scrollBy(0, it.clientHeight / 2)")
            return line.first.is_visible()

        self.see(f"{self.run_path}?tab=Logs", panel)
        self.until(f"line {text!r}", scrolled)

    def artifact(self, key: str) -> Locator:
        """Open an artifact of the run, by way of its card and its key's page."""
        found = self.until(f"artifact {key}", lambda: self.artifacts(key))[0]
        card = self.page.locator(f"a[href$='/artifacts/key/{key}']")
        entry = self.page.locator(f"a[href$='/artifacts/artifact/{found['id']}']")
        # Exactly: the tab of a run's artifacts is called Artifacts.
        shown = self.page.get_by_role("tabpanel", name="Artifact", exact=True)
        self.see(f"{self.run_path}?tab=Artifacts", card)
        self.press(card, entry)
        return self.press(entry, shown)

    def artifacts(self, key: str | None = None) -> list[dict[str, Any]]:
        """Return the run's artifacts, the newest first."""
        of_run: dict[str, Any] = {"flow_run_id": {"any_": [self.run]}}
        if key:
            of_run["key"] = {"any_": [key]}
        body = {"artifacts": of_run, "sort": "CREATED_DESC"}
        return self.server.ask("artifacts/filter", body)

    def _log(self) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [self.run]}}, "limit": 200}
        return [line["message"] for line in self.server.ask("logs/filter", body)]

    # -- what is left -----------------------------------------------------------------------

    def shoot(self, name: str, *, height: int = _HEIGHT) -> None:
        """Take a picture of the window, made higher for it where there is more to see.

        It goes to the folder PREFECT_DATASETS_SCREENSHOTS; without one there is none.
        """
        folder = _pictures()
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.page.set_viewport_size({"width": _WIDTH, "height": height})
        self.page.wait_for_timeout(1_500)  # what fades in is in
        self.page.screenshot(path=folder / f"{name}.png")
        self.page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})

    def steps(self) -> str:
        """Return what was done since this was asked last, with the seconds until the next step."""
        ends = [*(begin for begin, _ in self._done[1:]), time.monotonic()]
        lines = [
            f"{end - begin:6.1f} s  {step}"
            for (begin, step), end in zip(self._done, ends, strict=True)
        ]
        self._done.clear()
        return "\n".join(lines)

    def evidence(self, name: str) -> str:
        """Return what the page, the server and the logs say; the page's picture is kept."""
        picture = (_pictures() or self.folder) / f"failed-{name}.png"
        parts = [f"{self.page.url}, seen in {picture}"]
        with suppress(PlaywrightError, OSError):
            picture.parent.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=picture, timeout=20_000)
        with suppress(PlaywrightError):
            parts.append(self.page.inner_text("body", timeout=20_000))
        parts += ["-- what the page complained about", *self._complaints[-10:]]
        if self.run:
            with suppress(OSError):
                state = self.server.ask(f"flow_runs/{self.run}")["state"]
                parts.append(f"-- run {self.run}: {state['name']}, {state['message']}")
                parts += self._log()[-20:]
        for log in sorted(self.folder.glob("**/*.log")):
            parts += [f"-- end of {log}", *log.read_text(errors="replace").splitlines()[-20:]]
        return "\n".join(parts)

    def _note(self, step: str) -> None:
        self._done.append((time.monotonic(), step))


def _pictures() -> Path | None:
    """Return the folder that pictures are asked for in."""
    asked_for = os.environ.get("PREFECT_DATASETS_SCREENSHOTS", "")
    return Path(asked_for) if asked_for else None
