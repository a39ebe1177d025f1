"""The page as a browser shows it."""

import os
from pathlib import Path

import pytest

from pipeline import report
from tests import report_results as made

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}; set CHROMIUM to one")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


def test_page__opens_in_a_browser(browser, tmp_path):
    path = report.write(
        tmp_path / "report.html",
        title="A title <script>document.title = 'changed'</script>",
        results=[made.rsa(), made.rdm(), made.rsa(times=(0.0, 0.1, 0.2), name="rsa/meg")],
        categories=made.categories(),
    )
    said, asked = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())

    assert said == [], "neither errors nor refusals of the page's own content policy"
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.title().startswith("A title <script>"), "markup in a title stays text"
    sizes = [one.bounding_box() for one in page.query_selector_all("figure svg")]
    assert len(sizes) == 3
    assert all(size["width"] > 400 and size["height"] > 200 for size in sizes)
    rasters = page.eval_on_selector_all("figure svg image", "all => all.map(one => one.getBBox().width)")
    assert len(rasters) >= 1
    assert min(rasters) > 0
    assert max(rasters) > 200, "the RDM is there"
    assert [len(one.query_selector_all("tbody tr")) for one in page.query_selector_all("table")] == [20, 20]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "nothing is cut off at laptop width"
    )
    assert not page.locator("details dl").first.is_visible(), "how it was made is folded away at first"
    page.locator("summary").first.click()
    assert page.locator("details dl").first.is_visible()
