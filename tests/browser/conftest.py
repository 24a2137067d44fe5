"""Of a test that fails: what the browser showed, what the server knew, what was done until then."""

from __future__ import annotations

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add it to the report; the steps with their times also where it passed (`-rP` shows them)."""
    report = yield
    # Not named as a type: playwright is imported by nobody who does not use it.
    pages = getattr(item, "funcargs", {}).get("pages")
    if call.when == "call" and pages is not None:
        report.sections.append(("What was done", pages.steps()))
        if report.failed:
            try:
                seen = pages.evidence(item.name)
            except Exception as error:  # noqa: BLE001 - it would end the whole run of pytest
                seen = f"not to be had: {error!r}"
            report.sections.append(("What there was to see", seen))
    return report
