"""Keys as they are pressed: nothing is echoed, no line has to be ended, and nothing typed ahead is lost."""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_KEY = re.compile(r"\x1b(?:[\[O][0-9;]*[A-Za-z~])?|.", re.DOTALL)
"""An arrow is sent as an escape sequence."""
_REST = 0.05
"""Seconds in which the rest of an escape sequence comes."""


class Keyboard:
    """The keys of the terminal at standard input, while `listening`."""

    def __init__(self) -> None:
        self._handle = sys.stdin.fileno()
        self._usual = termios.tcgetattr(self._handle)

    @contextmanager
    def listening(self, *, on: bool = True) -> Iterator[None]:
        """Take keys one by one; or, within that, leave the terminal to another program for a while."""
        self._set(on)
        try:
            yield
        finally:
            self._set(not on)

    def _set(self, on: bool) -> None:
        if on:
            tty.setcbreak(self._handle, termios.TCSADRAIN)
        else:
            termios.tcsetattr(self._handle, termios.TCSADRAIN, self._usual)

    def pressed(self) -> Iterator[str]:
        """Key after key, until the terminal is closed."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while typed := os.read(self._handle, 1024):
            text = decoder.decode(typed)
            while "\x1b" in text[-3:] and select.select([self._handle], [], [], _REST)[0]:
                text += decoder.decode(os.read(self._handle, 1))
            yield from _KEY.findall(text)
