"""Sites as they are on disk, read back without a browser."""

import base64
import gzip
import json
import re

import pytest


class Site:
    """What a browser would find: the content beside the script, and in pages of data."""

    def __init__(self, folder):
        self.folder = folder
        self.index = (folder / "index.html").read_text(encoding="utf-8")

    @property
    def content(self):
        return json.loads(
            re.search(r'<script type="application/json" id="content">(.*?)</script>', self.index, re.DOTALL)[1]
        )

    def page(self, name):
        html = (self.folder / name).read_text(encoding="utf-8")
        packed = re.search(r'<script type="application/gzip" id="content">([\w+/=]*)</script>', html)[1]
        return gzip.decompress(base64.b64decode(packed))


@pytest.fixture
def site():
    return Site
