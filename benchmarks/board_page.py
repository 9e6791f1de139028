"""How long the page of a large board takes to open, to sort, to filter and to draw its charts: seconds, in Chromium.

    python benchmarks/board_page.py --rows 10000 --repeats 5

The board is made up (harness.testing.boards) and written by the site's own builder, which is timed too. Each step is
timed in the page, from the event to the second frame after it; the median counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from harness.board.site.write import write_site
from harness.testing.boards import synthetic
from harness.testing.chromium import chromium

PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
STEPS = {
    "sort by device time": "[...document.querySelectorAll('#table thead button')].at(-2).click()",
    "sort by composite": "document.querySelectorAll('#table thead button')[1].click()",
    "search for two words": """(() => {
      const field = document.getElementById("search");
      field.value = "neftune 1/64";
      field.dispatchEvent(new Event("input"));
    })()""",
    "search for nothing again": """(() => {
      const field = document.getElementById("search");
      field.value = "";
      field.dispatchEvent(new Event("input"));
    })()""",
    "scroll to the last row": "document.querySelector('.scroll').scrollTop = 1e9",
    "draw the charts": """document.getElementById("charts").scrollIntoView();
      while (!document.querySelector("#charts svg")) await new Promise(requestAnimationFrame)""",
}


def seconds(page: Page, step: str) -> float:
    """From an event to the second frame after it."""
    timed = f"const start = performance.now(); {step}; await ({PAINTED})(); return performance.now() - start;"
    return float(page.evaluate(f"async () => {{ {timed} }}")) / 1000


def once(browser: Browser, site: Path) -> dict[str, float]:
    """All steps on a page that is opened anew."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto((site / "index.html").as_uri(), wait_until="commit")
    page.locator("#table tbody th a").first.wait_for()
    opened = page.evaluate(f"async () => {{ await ({PAINTED})(); return performance.now(); }}") / 1000
    taken = {"open, to the first row": opened, **{name: seconds(page, step) for name, step in STEPS.items()}}
    context.close()
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    made = synthetic(options.rows, items=20)
    with tempfile.TemporaryDirectory() as name:
        site, start = Path(name), time.perf_counter()
        write_site(site, [made.board], {row.id: row for row in made.rows}, made.publishable_of)
        print(f"{options.rows:,} rows: written in {time.perf_counter() - start:.1f} s,", end=" ")
        print(f"index.html {(site / 'index.html').stat().st_size / 1e6:.1f} MB")
        with chromium() as browser:
            rounds = [once(browser, site) for _ in range(options.repeats + 1)][1:]  # the first fills the disk's cache
            version = browser.version
    print(f"median of {options.repeats}, Chromium {version}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for step in rounds[0]:
        print(f"{statistics.median(one[step] for one in rounds):8.3f} s  {step}")


if __name__ == "__main__":
    main()
