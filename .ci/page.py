"""Opens the page of the local example in a browser, and sets, fails to set, removes and reads the distributor there."""

import json
import pathlib
import re

import dynamodb
from browser import page
from events import ID
from local import local

SCREENSHOT = pathlib.Path("target/page.png")
SET = {"meta": {"host": "https://hooks.example.com", "path": "/in", "method": 2}}


def stored(example):
    """The item, asked of the store itself."""
    key = {"id": {"S": ID}}
    return dynamodb.call(example.dynamodb, "GetItem", {"TableName": "distributors", "Key": key})["Item"]


def execute(browser, body, if_match=None):
    """Fills in what a person would, and returns the status and the text that the page shows, and the response itself."""
    operation = browser.locator("#operations-distributors-updateDistributor")
    operation.locator("textarea.body-param__text").fill(json.dumps(body))
    operation.locator("tr[data-param-name='If-Match'] input").fill(if_match or "")
    lines = len(browser.locator("#log").inner_text().splitlines())
    with browser.expect_response(lambda response: "/api/v1/" in response.url) as response:
        operation.locator("button.execute").click()
    live = operation.locator(".live-responses-table")
    live.locator(".response-col_status", has_text=str(response.value.status)).first.wait_for()
    # What is shown of the response before has gone when the tag of this one, or its request id, is there.
    expected = response.value.headers.get("etag") or response.value.json()["request_id"]
    live.get_by_text(expected.strip('"')).first.wait_for()
    status = int(live.locator("tbody .response-col_status").first.inner_text().split()[0])
    shown = live.locator("tbody").inner_text()
    # Item and log are asked for after each response.
    browser.wait_for_function("n => document.getElementById('log').textContent.split('\\n').length === n", arg=lines + 1)
    return status, shown, response.value


# The color of a text, and that of the nearest element behind it which is not transparent.
COLORS = """element => {
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
}"""


def luminance(color):
    """The relative luminance of a color (WCAG 2.2)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in color]
    return sum(weight * value for weight, value in zip([0.2126, 0.7152, 0.0722], linear))


def contrast(element):
    """The contrast of a text to what is behind it: 1 is invisible; the least of Swagger UI's own badges is 2.2."""
    colors = [[int(value) / 255 for value in re.findall(r"\d+", color)[:3]] for color in element.evaluate(COLORS)]
    dark, light = sorted(map(luminance, colors))
    return (light + 0.05) / (dark + 0.05)


with local() as example, page(1500, 1300) as browser:
    browser.goto(example.url)
    operation = browser.locator("#operations-distributors-updateDistributor")
    operation.get_by_text("Update a distributor").first.wait_for()
    badges = browser.locator(".info .title small pre.version").all()
    contrasts = [round(contrast(badge), 1) for badge in badges]
    assert len(badges) == 2 and min(contrasts) >= 2, contrasts
    limits = {element.evaluate("element => getComputedStyle(element).maxHeight") for element in badges}
    assert limits == {"none"}, limits
    print(f"badges {[badge.inner_text() for badge in badges]}: contrast {contrasts}")
    operation.locator("button.try-out__btn").click()

    status, shown, response = execute(browser, SET)
    tag = response.headers["etag"]
    assert status == 200 and tag in shown and "hooks.example.com" in shown, shown
    item = stored(example)
    assert item["meta"]["M"]["path"] == {"S": "/in"} and f'"{item["updated_at"]["S"]}"' == tag, item
    assert json.loads(browser.locator("#item").inner_text()) == item
    print(f"set: the page shows {status}, etag {tag}; the table holds {item['meta']['M']['host']['S']}")

    status, shown, _ = execute(browser, {"meta": {"host": "http://localhost", "colour": 1}})
    assert status == 422 and "/meta/host" in shown and "/meta/colour" in shown, shown
    assert stored(example) == item
    print(f"set what is invalid: the page shows {status} and both errors; the table holds what it held")
    browser.locator(".live-responses-table").scroll_into_view_if_needed()
    browser.screenshot(path=SCREENSHOT)

    status, shown, response = execute(browser, {"meta": None}, if_match=tag)
    assert status == 200 and '"meta": null' in shown, shown
    removed = stored(example)
    assert "meta" not in removed and removed["updated_at"]["S"] > item["updated_at"]["S"], removed
    assert json.loads(browser.locator("#item").inner_text()) == removed
    assert len(browser.locator("#log").inner_text().splitlines()) == 3
    print(f"remove if it is at {tag}: the page shows {status}; the table holds no meta")

    status, shown, _ = execute(browser, SET, if_match=tag)
    assert status == 412 and stored(example) == removed, shown
    print(f"set if it is still at {tag}: the page shows {status}; the table holds what it held")

print(f"screenshot: {SCREENSHOT}")
