"""Debian's Chromium, which loads nothing but what a test serves."""

import contextlib
import os

from playwright.sync_api import sync_playwright

ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
]


@contextlib.contextmanager
def page(width, height):
    """Opens a page, and fails if it has an error or asks for anything that is not on this machine."""
    elsewhere, errors = [], []
    with sync_playwright() as playwright:
        # Its sandbox does not work for root.
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=ARGUMENTS, chromium_sandbox=os.geteuid() != 0
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("pageerror", lambda error: errors.append(str(error)))

        def only_local(route):
            if route.request.url.startswith(("http://127.0.0.1:", "data:", "file:", "about:")):
                route.continue_()
            else:
                elsewhere.append(route.request.url)
                route.abort()

        page.route("**/*", only_local)
        yield page
        browser.close()
    assert not elsewhere, elsewhere
    assert not errors, errors
