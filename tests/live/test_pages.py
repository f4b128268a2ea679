"""The pages of the archive in a real browser: what one sees, clicks and types."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys

from tests.conftest import Dcmweb, clean_environment, make_series, tree, write_files
from tests.functional.archives import Running, changed, path_of, running
from tests.functional.hostile_folder import write_hostile_folder
from tests.live.browser import Browser, running_browser
from tests.live.servers.process import NotInstalled

pytestmark = pytest.mark.live

NAMELESS_FIELDS = """
return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
  .filter(field => !field.labels.length && !field.getAttribute('aria-label')).length
  + [...document.querySelectorAll('img:not([alt])')].length
  + [...document.querySelectorAll('table')].filter(t => !t.querySelector('th[scope]')).length
  + [...document.querySelectorAll('a, button')].filter(a => !a.textContent.trim()).length
"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    try:
        with running_browser() as browser:
            yield browser
    except NotInstalled as missing:
        if os.environ.get("DCMWEB_REQUIRE_LIVE"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser that must have nothing to complain of when the test is over."""
    chromium.reset()
    yield chromium
    assert chromium.complaints() == []
    assert {host.partition(":")[0] for host in chromium.hosts()} <= {"127.0.0.1"}


def slices(count: int = 12) -> list[bytes]:
    """Make a series of pictures that differ, of a patient with a name in two scripts."""
    across, down = np.mgrid[:16, :16]
    return [
        changed(
            data,
            SpecificCharacterSet="ISO_IR 192",
            PatientName="Yamada^Tarou=山田^太郎",
            StudyDescription='It\'s a "study" & more',
            SeriesDescription="Axial",
            StudyDate="20240229",
            InstanceNumber=number,
            Columns=16,
            PixelRepresentation=1,
            PixelData=(across * 10 + down * number).astype("<i2").tobytes(),
        )
        for number, data in enumerate(make_series(count), 1)
    ]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Running]:
    write_files(tmp_path / "in", slices())
    with running(tmp_path / "in") as server:
        yield server


def series_url(server: Running) -> str:
    return f"{server.root}/browse/{path_of(make_series(1)[0], 2)}"


def picture(browser: Browser) -> str:
    """The address of the picture that is shown, once it is loaded."""
    browser.wait(
        lambda: browser.run(
            "const p = document.getElementById('picture'); return p.complete && p.naturalWidth > 0"
        ),
        "no picture was loaded",
    )
    return str(browser.run("return document.getElementById('picture').src"))


def is_shown(browser: Browser, number: int) -> bool:
    return picture(browser).endswith(f"/pictures/{number}")


def test_a_study_is_found_and_opened(browser: Browser, archive: Running) -> None:
    browser.open(f"{archive.root}/")
    browser.one("#name").send_keys("yama")
    browser.one("#description").send_keys("IT'S A")
    browser.follow("form.search button")
    assert browser.one("p.summary").text == "1 study found"
    assert browser.run(NAMELESS_FIELDS) == 0
    browser.follow("tbody th a")
    assert browser.one("h1").text == "Yamada, Tarou (山田 太郎)"
    assert browser.run(NAMELESS_FIELDS) == 0
    browser.wait(
        lambda: browser.run("return document.querySelector('.card img').naturalWidth") == 240
    )
    browser.follow(".card a")
    assert picture(browser).endswith("/pictures/6")
    assert browser.run(NAMELESS_FIELDS) == 0
    browser.follow("#at")
    rows = {row.text.split(" ")[1] for row in browser.all("table.metadata tbody tr")}
    assert {"PatientName", "PixelData", "SOPInstanceUID"} <= rows
    assert browser.run(NAMELESS_FIELDS) == 0


def test_pictures_are_scrolled_by_keyboard_and_wheel(browser: Browser, archive: Running) -> None:
    browser.open(series_url(archive))
    screen = browser.one("#screen")
    browser.run("arguments[0].focus()", screen)
    for key, number in ((Keys.ARROW_DOWN, 7), (Keys.END, 12), (Keys.ARROW_DOWN, 12)):
        browser.keys(key)
        browser.wait(partial(is_shown, browser, number))
    browser.keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP)
    browser.wait(lambda: picture(browser).endswith("/pictures/2"))
    assert browser.attribute("#image", "value") == "2"
    browser.wait(lambda: browser.one("#status").text.startswith("Picture 2 of 12"))
    assert browser.url.endswith("?image=2")
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    origin = ScrollOrigin.from_element(screen)
    ActionChains(browser.driver).scroll_from_origin(origin, 0, 120).perform()
    browser.wait(lambda: picture(browser).endswith("/pictures/5"))
    browser.open(browser.url)
    assert browser.attribute("#at", "href")


def test_the_window_is_changed_by_keyboard_mouse_and_numbers(
    browser: Browser, archive: Running
) -> None:
    browser.open(series_url(archive))
    screen = browser.one("#screen")

    def window() -> tuple[float, float]:
        center, width = (float(browser.attribute(f"#{n}", "value")) for n in ("center", "width"))
        return center, width

    own = window()
    browser.run("arguments[0].focus()", screen)
    browser.shifted(Keys.ARROW_UP)
    browser.wait(lambda: window()[0] > own[0])
    assert window()[1] == own[1]
    browser.shifted(Keys.ARROW_RIGHT)
    browser.wait(lambda: window()[1] > own[1])
    browser.wait(lambda: f"width={window()[1]:g}" in picture(browser))
    browser.keys("r")
    browser.wait(lambda: picture(browser).endswith("/pictures/6"))
    assert window() == own
    ActionChains(browser.driver).move_to_element(screen).click_and_hold().move_by_offset(
        60, 30
    ).release().perform()
    browser.wait(lambda: window()[0] > own[0] and window()[1] > own[1])
    browser.wait(lambda: f"center={window()[0]:g}" in picture(browser))
    for name, value in (("center", "5"), ("width", "10")):
        field = browser.one(f"#{name}")
        field.clear()
        field.send_keys(value)
    browser.keys(Keys.ENTER)
    browser.wait(lambda: picture(browser).endswith("/pictures/6?center=5&width=10"))
    browser.wait(lambda: browser.url.endswith("image=6&center=5&width=10"))
    browser.open(browser.url)
    assert picture(browser).endswith("/pictures/6?center=5.0&width=10.0")


def test_a_command_is_copied_and_works_in_a_shell(
    browser: Browser, archive: Running, tmp_path: Path
) -> None:
    browser.open(f"{archive.root}/?description=IT%27S+A")
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.command("Browser.grantPermissions", permissions=permissions)
    for page in ("", series_url(archive)):
        if page:
            browser.open(page)
        browser.one(".copyable button").click()
        browser.wait(lambda: browser.one(".copyable button").text == "Copied")
        command = browser.driver.execute_async_script(
            "const done = arguments[0]; navigator.clipboard.readText().then(done, done)"
        )
        found = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env={
                **clean_environment(),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert page or "Yamada" in found.stdout
    assert sorted(tree(tmp_path / "data").values()) == sorted(archive.files().values())


def test_everything_is_reached_by_keyboard_and_seen_to_be(
    browser: Browser, archive: Running
) -> None:
    def tab_to(text: str) -> None:
        for _ in range(60):
            browser.keys(Keys.TAB)
            here = browser.focused()
            outline = browser.run("return getComputedStyle(arguments[0]).outlineStyle", here)
            assert outline != "none", here.get_attribute("outerHTML")
            is_link = here.tag_name == "a" and text in here.text
            if is_link or here.get_attribute("id") == text:
                return
        raise AssertionError(f"{text} is not reached")

    browser.open(f"{archive.root}/")
    browser.keys(Keys.TAB)
    assert browser.focused().get_attribute("class") == "skip"
    browser.keys(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "main"
    tab_to("name")
    browser.keys("yamada", Keys.ENTER)
    browser.wait(lambda: "name=yamada" in browser.url)
    tab_to("Yamada")
    browser.keys(Keys.ENTER)
    browser.wait(lambda: browser.all(".card"))
    tab_to("Axial")
    browser.keys(Keys.ENTER)
    browser.wait(lambda: browser.all("#screen[tabindex]"))
    picture(browser)
    tab_to("screen")
    browser.keys(Keys.ARROW_DOWN)
    browser.wait(lambda: picture(browser).endswith("/pictures/7"))
    tab_to("Metadata and file")
    browser.keys(Keys.ENTER)
    browser.wait(lambda: browser.all("table.metadata"))


def test_pages_work_without_scripts(browser: Browser, archive: Running) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"{archive.root}/?name=yamada")
    browser.follow("tbody th a")
    browser.follow(".card a")
    assert browser.attribute("#picture", "src").endswith("/pictures/6")
    browser.follow("#next")
    assert browser.attribute("#picture", "src").endswith("/pictures/7")
    field = browser.one("#center")
    field.clear()
    field.send_keys("7")
    browser.follow("#apply")
    assert "/pictures/7?center=7.0" in browser.attribute("#picture", "src")


def test_a_deletion_needs_leave_and_a_confirmation(browser: Browser, tmp_path: Path) -> None:
    write_files(tmp_path / "in", slices(2))
    with running(tmp_path / "in") as server:
        browser.open(series_url(server))
        assert browser.all(".danger") == []
    with running(tmp_path / "in", "--page-can-delete") as server:
        browser.open(series_url(server))
        browser.follow(".danger")
        assert browser.one("h1").text == "Delete 2 instances?"
        browser.follow_element(browser.driver.find_element("link text", "Keep"))
        browser.follow(".danger")
        browser.follow("button.danger")
        assert browser.url == f"{server.root}/"
        assert "The archive is empty" in browser.one("p.summary").text
        assert len(server.files()) == 2


def test_no_value_of_a_file_does_anything(browser: Browser, tmp_path: Path) -> None:
    write_hostile_folder(tmp_path / "in")
    with running(tmp_path / "in") as server:
        waiting, seen = [f"{server.root}/"], set[str]()
        while waiting:
            browser.open(waiting.pop())
            assert browser.run("return window.harmed") is None
            assert browser.run(NAMELESS_FIELDS) == 0
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
            links = browser.run("return [...document.querySelectorAll('main a')].map(a => a.href)")
            for link in links:
                assert link.startswith(f"{server.root}/"), link
                is_page = "/browse/studies/" in link and not link.endswith(".zip")
                if is_page and link not in seen and "?image" not in link and "/at" not in link:
                    seen.add(link)
                    waiting.append(link)
        assert len(seen) > 60


@pytest.mark.parametrize("width", [390, 800, 1600])
def test_pages_fit_narrow_and_wide_windows(browser: Browser, archive: Running, width: int) -> None:
    browser.command(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=width < 600,
    )
    instance = f"{archive.root}/browse/{path_of(make_series(1)[0])}"
    series = series_url(archive)
    for url in (f"{archive.root}/", series.rpartition("/series")[0], series, instance):
        browser.open(url)
        assert browser.run("return document.documentElement.scrollWidth") <= width


def test_a_contact_sheet_is_a_page_of_its_own(
    browser: Browser, archive: Running, dcmweb: Dcmweb, tmp_path: Path
) -> None:
    assert dcmweb(archive.url, "retrieve", "--contact-sheet", "sheet.html").code == 0
    browser.open((tmp_path / "sheet.html").as_uri())
    assert browser.run("return [...document.images].map(i => i.naturalWidth)") == [256]
    assert "patients" in browser.one("p.warning").text
    assert browser.run("return getComputedStyle(document.querySelector('li')).width") == "236px"
