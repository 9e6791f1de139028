"""The page on which a person reviews candidates: one at a time, one key for each decision.

What a row holds is text, whatever it contains: it is never read as markup, and what a terminal would obey is spelled
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.control import Control
from rich.segment import Segment, Segments
from rich.text import Text

from harness.canonical import Json, canonical
from harness.cli.editor import edit_row
from harness.cli.keyboard import Keyboard
from harness.errors import UserError
from harness.review.candidates import Candidate
from harness.review.decisions import Decision, Journal
from harness.review.plain import plain
from harness.visible import visible

ROLES = {"system": "magenta", "user": "cyan", "assistant": "green", "text": "green"}
VERDICTS = {"keep": ("kept", "green"), "drop": ("dropped", "red"), "edit": ("kept as edited", "green")}
KEYS = "k keep  d drop  e edit  u undo  n next  p back  q quit"
FACT = 200
"""Characters that are shown of a column beside the conversation."""
_AROUND = 4
"""Lines above and below the conversation."""


class Page:
    """Steps through the candidates until the person leaves; every decision goes to the journal at once."""

    def __init__(self, candidates: Sequence[Candidate], journal: Journal, console: Console) -> None:
        self.candidates, self.journal, self.console = candidates, journal, console
        self._places = {candidate.id: place for place, candidate in enumerate(candidates)}
        self._place = self._undecided(0)
        self._scrolled = 0
        self._note = ""
        self._keyboard = Keyboard()
        self._commands: Mapping[str, Callable[[], None]] = {
            **dict.fromkeys(("k", "y"), lambda: self._decide("keep")),
            **dict.fromkeys(("d", "x"), lambda: self._decide("drop")),
            "e": self._edit,
            "u": self._undo,
            **dict.fromkeys(("n", "\x1b[C", "\x1bOC"), lambda: self._go(self._place + 1)),
            **dict.fromkeys(("p", "\x1b[D", "\x1bOD"), lambda: self._go(self._place - 1)),
            **dict.fromkeys((" ", "\x1b[B", "\x1bOB", "\x1b[6~"), lambda: self._scroll(1)),
            **dict.fromkeys(("b", "\x1b[A", "\x1bOA", "\x1b[5~"), lambda: self._scroll(-1)),
        }

    def run(self) -> None:
        """Show, and obey keys, until `q`."""
        with self._screen():
            self._draw()
            for key in self._keyboard.pressed():
                if key == "q":
                    return
                self._note = ""
                self._commands.get(key, self._unknown)()
                self._draw()

    # --- what keys do ----------------------------------------------------------------------------------------------

    @property
    def candidate(self) -> Candidate:
        """The one on the page, as it stands: edited where somebody edited it."""
        candidate = self.candidates[self._place]
        decision = self.journal.decisions.standing.get(candidate.id)
        return candidate.edited(decision.edited) if decision and decision.edited else candidate

    @property
    def _verdict(self) -> str | None:
        """What was decided on the one on the page."""
        decision = self.journal.decisions.standing.get(self.candidate.id)
        return decision.verdict if decision else None

    def _decide(self, verdict: str, edited: Mapping[str, Json] | None = None) -> None:
        decision = Decision.model_validate({"row": self.candidate.id, "verdict": verdict, "edited": edited})
        if not (verdict == "keep" and self._verdict == "edit"):  # what is on the page is the edited row
            self.journal.take(decision)
        self._go(self._undecided(self._place + 1))

    def _edit(self) -> None:
        candidate = self.candidate
        try:
            with self._screen(shown=False):
                edited = edit_row(candidate)
        except UserError as error:
            self._note = str(error)
            return
        if edited is None:
            self._note = "nothing was changed"
        else:
            self._decide("edit", edited)

    def _undo(self) -> None:
        last = self.journal.decisions.last(self._places)
        if last is None:
            self._note = "there is nothing to undo"
            return
        self.journal.take(Decision(row=last.row, verdict="undo"))
        self._go(self._places[last.row])
        self._note = "taken back"

    def _go(self, place: int) -> None:
        self._place = min(max(place, 0), len(self.candidates) - 1)
        self._scrolled = 0

    def _scroll(self, pages: int) -> None:
        self._scrolled = max(0, self._scrolled + pages * max(1, self._room - 1))

    def _unknown(self) -> None:
        self._note = "no such key"

    def _undecided(self, start: int) -> int:
        """The first candidate without a decision from here on, else from the beginning; the last one where all have."""
        standing = self.journal.decisions.standing
        order = [*range(start, len(self.candidates)), *range(min(start, len(self.candidates)))]
        return next((n for n in order if self.candidates[n].id not in standing), len(self.candidates) - 1)

    # --- what is shown ---------------------------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        """Lines that the terminal has for the conversation."""
        return max(1, self.console.height - _AROUND)

    def _draw(self) -> None:
        options = self.console.options.update(width=self.console.width, height=None)
        lines = self.console.render_lines(_conversation(self.candidate), options, pad=False)
        self._scrolled = min(self._scrolled, max(0, len(lines) - self._room))
        shown = lines[self._scrolled : self._scrolled + self._room]
        below = len(lines) - self._scrolled - len(shown)
        more = f"space: {below} more line{'s' if below > 1 else ''}" if below else ""
        around = self.console.render_lines(Group(*self._head()), options, pad=False)
        foot = self.console.render_lines(
            Group(Text(more, style="dim"), Text(KEYS, "dim", no_wrap=True)), options, pad=False
        )
        blank = [[Segment("")]] * (self._room - len(shown))
        page = [*around, *shown, *blank, *foot]
        self.console.control(Control.home(), Control.clear())
        segments = [segment for line in page for segment in (*line, Segment.line())][:-1]
        self.console.print(Segments(segments), end="")

    def _head(self) -> Iterator[Text]:
        standing = [one.verdict for row, one in self.journal.decisions.standing.items() if row in self._places]
        dropped, n = standing.count("drop"), len(self.candidates)
        left = n - len(standing)
        counts = f"{len(standing) - dropped:,} kept · {dropped:,} dropped · {left:,} left" if left else "all decided"
        yield Text(f"{self._place + 1:,} of {n:,} · {counts}", "bold", no_wrap=True, overflow="ellipsis")
        words, style = VERDICTS.get(self._verdict or "", ("undecided", "yellow"))
        note = f" · {visible(self._note)}" if self._note else ""
        yield Text.assemble((words, style), (note, "bold"), no_wrap=True, overflow="ellipsis")

    @contextmanager
    def _screen(self, *, shown: bool = True) -> Iterator[None]:
        """The page's own screen while it is `shown`; the terminal as it was while it is not."""
        self.console.set_alt_screen(shown)
        self.console.show_cursor(not shown)
        try:
            with self._keyboard.listening(on=shown):
                yield
        finally:
            self.console.set_alt_screen(not shown)
            self.console.show_cursor(shown)


def _conversation(candidate: Candidate) -> Group:
    parts: list[Text] = []
    for message in candidate.messages:
        parts += [Text(message.role, f"bold {ROLES[message.role]}"), Text(visible(plain(message.content))), Text()]
    for name, value in candidate.facts.items():
        written = value if isinstance(value, str) else canonical(value)
        shown = written if len(written) <= FACT else f"{written[:FACT]}…"
        parts.append(Text(f"{visible(name)}: {visible(shown)}", "dim"))
    return Group(*parts)
