"""Opens the page of the local example in a browser, and uses all of it. With --save, README's picture is made anew."""

import json
import re
import subprocess
import sys

import dynamodb
from browser import page
from events import ID, root
from local import local

PICTURE = root / "docs/page.png"
# People look at it before they read, and it is in every clone.
MAX_PICTURE = 200_000
SET = {"meta": {"host": "https://hooks.example.com", "path": "/in", "method": 2}}


def stored(example):
    """The item, asked of the store itself."""
    key = {"id": {"S": ID}}
    return dynamodb.call(example.dynamodb, "GetItem", {"TableName": "distributors", "Key": key})["Item"]


def execute(browser, body, if_match=None):
    """Fills in what a person would, and returns the status and the text that the page shows, the response itself, and the newest of
    the requests beside it."""
    operation = browser.locator("#operations-distributors-updateDistributor")
    operation.locator("textarea.body-param__text").fill(json.dumps(body))
    operation.locator("tr[data-param-name='If-Match'] input").fill(if_match or "")
    requests = browser.locator("#requests > details")
    count = requests.count()
    with browser.expect_response(lambda response: "/api/v1/" in response.url) as response:
        operation.locator("button.execute").click()
    live = operation.locator(".live-responses-table")
    live.locator(".response-col_status", has_text=str(response.value.status)).first.wait_for()
    # What is shown of the response before has gone when the tag of this one, or its request id, is there.
    expected = response.value.headers.get("etag") or response.value.json()["request_id"]
    live.get_by_text(expected.strip('"')).first.wait_for()
    status = int(live.locator("tbody .response-col_status").first.inner_text().split()[0])
    shown = live.locator("tbody").inner_text()
    # Requests and item are asked for after each response.
    requests.nth(count).wait_for()
    return status, shown, response.value, requests.first


def open_request(request):
    """Folds a request out. Returns the event, what the function returned, its body, and the line of the log by its members."""
    request.locator("summary").click()
    event, result, body = [json.loads(part.inner_text()) for part in request.locator("pre").all()]
    line = dict(row.locator("td").all_inner_texts() for row in request.locator("tr").all())
    return event, result, body, line


def check_front_ends(browser):
    """Sends a read through each front end: the event is that of the front end, and the response the same."""
    names = browser.locator("#front-end option").all_inner_texts()
    assert len(names) == 5, names
    bodies = []
    for name in names:
        browser.locator("#front-end").select_option(name)
        status, _, _, request = execute(browser, {})
        event, result, body, line = open_request(request)
        assert status == result["statusCode"] == int(line["status"]) == 200 and line["operation"] == "read", line
        assert name in request.locator("summary").inner_text()
        version_2 = name in ["http-api", "function-url"]
        assert ("http" in event["requestContext"]) == version_2 and ("httpMethod" in event) == (not version_2), event
        assert ("statusDescription" in result) == name.startswith("load-balancer"), result
        bodies.append(body)
    assert all(body == bodies[0] for body in bodies), bodies
    browser.locator("#front-end").select_option(names[0])
    print(f"through {', '.join(names)}: the events differ, the response is the same")


def check_tokens(browser):
    """Makes every token that the page offers, each of which leads to what its name says."""
    choices = browser.locator("#choices button")
    names = choices.all_inner_texts()
    seen = []
    # The first is the one that was printed; it is made last, and the page goes on with it.
    for name in names[1:] + names[:1]:
        before = browser.locator("#decoded").text_content()
        choices.get_by_text(name, exact=True).click()
        browser.wait_for_function("before => document.getElementById('decoded').textContent !== before", arg=before)
        expected = int(name.rpartition(": ")[2])
        status, _, response, request = execute(browser, {})
        _, _, body, line = open_request(request)
        assert status == response.status == expected, (name, status)
        seen.append(f"{status} {body.get('code', 'ok')}")
        assert line["code"] == body.get("code", "ok") and (status != 401 or line.get("reason") or line["code"] == "missing_token"), line
    wanted = {"401 invalid_token", "401 missing_token", "403 insufficient_scope", "403 node_claim_missing", "404 distributor_not_found"}
    assert wanted < set(seen), seen
    print(f"tokens that are {'; '.join(names)}: so they are")


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


with local() as example, page(1400, 900) as browser:
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

    status, shown, response, request = execute(browser, SET)
    tag = response.headers["etag"]
    assert status == 200 and tag in shown and "hooks.example.com" in shown, shown
    item = stored(example)
    assert item["meta"]["M"]["path"] == {"S": "/in"} and f'"{item["updated_at"]["S"]}"' == tag, item
    assert json.loads(browser.locator("#item").inner_text()) == item
    event, result, body, line = open_request(request)
    assert json.loads(event["body"]) == SET and result["headers"]["etag"] == tag and body["meta"]["method"] == "POST"
    assert line["operation"] == "set" and line["distributor_id"] == ID and float(line["duration_ms"]) > 0, line
    # The token that is shown is of no use.
    assert event["headers"]["authorization"].endswith(".…"), event["headers"]
    print(f"set: the page shows {status}, etag {tag}; the table holds {item['meta']['M']['host']['S']}")

    status, shown, _, _ = execute(browser, {"meta": {"host": "http://localhost", "colour": 1}})
    assert status == 422 and "/meta/host" in shown and "/meta/colour" in shown, shown
    assert stored(example) == item
    print(f"set what is invalid: the page shows {status} and both errors; the table holds what it held")

    status, shown, response, _ = execute(browser, {"meta": None}, if_match=tag)
    assert status == 200 and '"meta": null' in shown, shown
    removed = stored(example)
    assert "meta" not in removed and removed["updated_at"]["S"] > item["updated_at"]["S"], removed
    assert json.loads(browser.locator("#item").inner_text()) == removed
    assert browser.locator("#requests > details").count() == 3
    print(f"remove if it is at {tag}: the page shows {status}; the table holds no meta")

    status, shown, _, request = execute(browser, SET, if_match=tag)
    assert status == 412 and stored(example) == removed, shown
    # A request from a terminal appears, too, and what was folded out stays so.
    request.locator("summary").click()
    subprocess.run(["bash", "-c", f"TOKEN={example.token}\n{example.commands[2]}"], check=True, capture_output=True)
    browser.evaluate("refresh()")
    browser.locator("#requests > details").nth(4).wait_for()
    opened = [request.get_attribute("open") is not None for request in browser.locator("#requests > details").all()]
    assert opened == [False, True, False, False, True], opened
    print(f"set if it is still at {tag}: the page shows {status}; the table holds what it held")

    if "--save" in sys.argv:
        browser.locator("#requests > details").evaluate_all("all => all.forEach((request) => { request.open = false; })")
        browser.locator("button.execute").evaluate("element => element.scrollIntoView()")
        browser.screenshot(path=PICTURE)
    check_front_ends(browser)
    check_tokens(browser)
    browser.screenshot(path=root / "target/page-wide.png")
    browser.set_viewport_size({"width": 600, "height": 1300})
    overflow = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"at 600 pixels, the page is {overflow} pixels too wide"
    browser.locator("aside").evaluate("element => element.scrollIntoView()")
    browser.screenshot(path=root / "target/page-narrow.png")

size = PICTURE.stat().st_size
assert size <= MAX_PICTURE, f"{PICTURE.name} has {size} bytes"
print(f"looked at in two widths: target/page-wide.png, target/page-narrow.png; README's picture has {size} bytes")
