"""Chromium without a window, driven by its own driver, for tests of pages."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of

from tests.live.servers.process import Program

CHROMIUM = Program("chromium", "chromium")
DRIVER = Program("chromedriver", "chromium-driver")
SECONDS = 20.0  # until something that is waited for must be there
OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,900",
)


class Browser:
    """A browser that keeps account of what it asks for and complains of."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    @property
    def url(self) -> str:
        return str(self.driver.current_url)

    def all(self, css: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def one(self, css: str) -> WebElement:
        (found,) = self.all(css)
        return found

    def follow(self, css: str) -> None:
        """Click on what leads to another page, and wait for that page."""
        self.follow_element(self.one(css))

    def follow_element(self, element: WebElement) -> None:
        page = self.one("html")
        element.click()
        self.wait(lambda: staleness_of(page)(self.driver), "no other page came")
        self.wait(lambda: self.run("return document.readyState") == "complete")

    def attribute(self, css: str, name: str) -> str:
        return self.one(css).get_attribute(name) or ""

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, is_so: Callable[[], object], what: str = "") -> None:
        """Wait until something is so; fail if that takes too long."""
        deadline = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < deadline, what or "it did not come about"
            time.sleep(0.05)

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def shifted(self, key: str) -> None:
        from selenium.webdriver import Keys

        chain = webdriver.ActionChains(self.driver)
        chain.key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT).perform()

    def focused(self) -> WebElement:
        found: WebElement = self.driver.switch_to.active_element
        return found

    def command(self, name: str, **arguments: Any) -> Any:
        """Give a command of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return list(self.driver.get_log(kind))  # type: ignore[no-untyped-call]

    def complaints(self) -> list[str]:
        """Take what the console has: errors of scripts, requests that failed, policies broken."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def hosts(self) -> set[str]:
        """Take the hosts of all requests since the last time; data: URLs have none."""
        found = set()
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.add(urlsplit(message["params"]["request"]["url"]).netloc)
        return found - {""}

    def reset(self) -> None:
        """Forget what an earlier test left."""
        self.command("Emulation.setScriptExecutionDisabled", value=False)
        self.command("Emulation.clearDeviceMetricsOverride")
        self.open("about:blank")
        self.complaints()
        self.hosts()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser for the time of a block; raise NotInstalled where there is none."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM.path()
    for option in OPTIONS:
        options.add_argument(option)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER.path()))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
