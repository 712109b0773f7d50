# SPDX-License-Identifier: BSD-3-Clause
"""Reports in a real browser, as on a phone and on a desk, by day and by night.

Chromium is driven by its own driver, both Debian's. A picture is also looked at as it is shown:
white ones would blind who reads in the dark.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast

from .row import NotHereError, Row

WIDTHS = (390, 1280)  # CSS pixels
SCHEMES = ("light", "dark")
#: What a page says of itself: who reaches beyond the window, and which pictures are not whole.
LOOK = """
const wide = e => { const r = e.getBoundingClientRect();
                    return r.left < -0.5 || r.right > innerWidth + 0.5; };
const cut = e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX != "visible";
return [innerWidth,
        document.documentElement.scrollWidth > innerWidth,
        [...document.body.querySelectorAll("*")].filter(e => wide(e) || cut(e))
            .slice(0, 3).map(e => e.tagName + " " + e.textContent.slice(0, 40)),
        [...document.images].filter(e => !e.complete || !e.naturalWidth).length,
        document.images.length];
"""


def open_browser() -> Any:
    """Start a browser without a window, and return its driver."""
    try:
        from selenium import webdriver
    except ImportError:
        raise NotHereError("no selenium") from None
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        raise NotHereError("no chromium and chromedriver (Debian's chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.add_argument("--headless=new")
    if os.name == "posix" and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which refuses root; the page is our own
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


#: Which pictures a click does not show in their full size, in a page that stays as wide as it is.
CLICK = """
return [...document.querySelectorAll(".picture")].flatMap(e => {
    const picture = e.querySelector("img"), whole = picture.clientWidth;
    e.click();
    const large = picture.clientWidth, least = e.scrollWidth >= large && e.scrollLeft == 0;
    const wide = document.documentElement.scrollWidth > innerWidth;
    e.click();
    return large != picture.getAttribute("width") || !least || wide || picture.clientWidth != whole
        ? [picture.alt] : [];
});
"""


def look(browser: Any, page: Path, width: int, scheme: str) -> list[str]:
    """Open a page, and return what is wrong with it."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.get(page.as_uri())
    inner, scrolls, wide, broken, n_pictures = browser.execute_script(LOOK)
    faults = [f"{text} is wider than the window" for text in wide]
    if inner != width or scrolls:
        faults.append(f"the page is wider than the window ({inner})")
    if broken or not n_pictures:
        faults.append(f"{broken} of {n_pictures} pictures are not shown")
    faults += [f"{alt}: not in full size at a click" for alt in browser.execute_script(CLICK)]
    for picture in browser.find_elements("tag name", "img"):
        if (ground_of(picture) > 0.5) != (scheme == "light"):
            faults.append(f"{picture.get_attribute('alt')}: not {scheme}")
    faults += [entry["message"] for entry in browser.get_log("browser")]
    return [f"{page.parent.name} at {width}, {scheme}: {fault}" for fault in faults]


def ground_of(picture: Any) -> float:
    """Return how light most of a picture is as it is shown, from 0 to 1."""
    from matplotlib.image import imread

    return float(np.median(imread(io.BytesIO(picture.screenshot_as_png))[..., :3]))


def check(short: bool) -> tuple[str, bool]:
    """Open the reports of all commands at each width in each scheme."""
    options = {"offline": True, "dataset": "strokes", "quiet": True}
    steps = 200 if short else 3000
    with tempfile.TemporaryDirectory() as folder:
        browser = open_browser()
        try:
            run, reconstruct, study = (
                Path(folder, name) for name in ("run", "reconstruct", "study")
            )
            arms = ("pretrained", "normal", "he")
            sae_fast.run_experiment(
                **options, arms=arms, pretrain_steps=steps, finetune_steps=steps, output=run
            )
            sae_fast.run_reconstruction(**options, steps=steps, output=reconstruct)
            grid = {"learning_rate": [1e-3, 3e-3]}
            few = {"pretrain_steps": 100, "finetune_steps": steps, "seeds": 3, "grid": grid}
            sae_fast.run_study(**options, **few, output=study)
            faults = [
                fault
                for output in (run, reconstruct, study)
                for width in WIDTHS
                for scheme in SCHEMES
                for fault in look(browser, output / "report.html", width, scheme)
            ]
            version = browser.capabilities["browserVersion"]
        finally:
            browser.quit()
    figure = f"Chromium {version}: {len(faults)} faults in 3 reports at {WIDTHS} pixels, {SCHEMES}"
    return "; ".join([*faults, figure]), not faults


ROW = Row(
    test="reports of all commands in a browser, as on a phone and a desk, light and dark",
    target="nothing wider than the window, every picture whole and of its scheme, no console error",
    check=check,
)
