"""Draws every Mermaid diagram of the documentation, and fails where one has an error."""

import re

from browser import page
from events import root

MERMAID = root / ".ci/node/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
PICTURES = root / "target/pictures"

PICTURES.mkdir(parents=True, exist_ok=True)
drawn = 0
with page(1100, 800) as browser:
    browser.goto("about:blank")
    browser.add_script_tag(path=MERMAID)
    browser.evaluate("mermaid.initialize({startOnLoad: false})")
    for file in sorted([root / "README.md", *root.glob("docs/*.md"), root / "benches/README.md"]):
        for number, text in enumerate(re.findall(r"^```mermaid\n(.*?)^```$", file.read_text(), re.M | re.S), 1):
            svg = browser.evaluate("async text => (await mermaid.render('picture', text)).svg", text)
            browser.set_content(f'<body style="margin: 20px">{svg}</body>')
            picture = PICTURES / f"{file.stem}-{number}.png"
            browser.locator("svg").first.screenshot(path=picture)
            print(f"{file.relative_to(root)}: {text.split()[0]}, {picture.relative_to(root)}")
            drawn += 1
assert drawn, "there are no diagrams"
print(f"{drawn} diagrams drawn")
