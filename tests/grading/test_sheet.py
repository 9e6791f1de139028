"""Grading sheets: the CSV survives spreadsheets, and the page works in a browser under its own policy."""

import csv
import html
import io
import re
import shutil
import subprocess

import pytest

from harness.api import answer_digest
from harness.data.formats import rows
from harness.grading.sheet import page_of, table_of, write_sheet
from harness.grading.ungraded import Answer

ANSWERS = [
    Answer("1", "What is $\\frac{4}{2}$?", 'It is $2$,\nI think, "really".'),
    Answer("1", "What is $\\frac{4}{2}$?", "-2"),
    Answer("2", "Kérdés & <b>", "=1+1"),
    Answer('odd "id"', "?", "</script><script>alert(1)</script>"),
]


def test_the_table_names_every_answer_and_leaves_the_points_to_fill_in(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text(table_of(ANSWERS), encoding="utf-8", newline="")
    found = [row.values for row in rows("sheet.csv", path)]
    assert [row["question_id"] for row in found] == ["1", "1", "2", 'odd "id"']
    assert [row["answer_sha256"] for row in found] == [answer_digest(answer.text) for answer in ANSWERS]
    assert [row["question"] for row in found] == [answer.question for answer in ANSWERS]
    assert {row["points"] for row in found} == {""}
    assert found[0]["answer"] == ANSWERS[0].text
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_no_cell_is_a_program_to_a_spreadsheet():
    cells = [cell for row in csv.reader(io.StringIO(table_of(ANSWERS).lstrip("\ufeff"))) for cell in row]
    assert "'=1+1" in cells
    assert "'-2" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_sheet_that_may_hold_grades_is_not_written_over(tmp_path, refused):
    table, page = write_sheet(tmp_path / "new", "exam", ANSWERS)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {table.name, page.name} == {"exam.csv", "exam.html"}
    assert "exam.csv is there already, and may hold grades" in refused(write_sheet, tmp_path / "new", "exam", ANSWERS)
    table.unlink()
    assert "exam.html is there already" in refused(write_sheet, tmp_path / "new", "exam", ANSWERS)


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """The page as a browser has it once its scripts ran: `browse(page)`."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium to open the page with")

    def browse(page):
        folder = tmp_path_factory.mktemp("page")
        (folder / "page.html").write_text(page, encoding="utf-8")
        headless = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
        done = subprocess.run(
            [chromium, *headless, "--dump-dom", f"file://{folder / 'page.html'}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout

    return browse


def test_the_page_runs_its_own_script_and_no_answers(browse):
    page = page_of("exam", ANSWERS)
    found = browse(page)
    assert '<span id="told">0 of 4 graded</span>' in found
    assert len(re.findall("<script", found)) == len(re.findall("<input", found)) - 3 == 1
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=", page)


def test_grades_typed_into_the_page_come_out_as_a_sheet(browse, tmp_path):
    typed = """
      const all = [...document.querySelectorAll("input")];
      [["1.5"], ["0"], [""], ["3"]].forEach(([points], n) => {
        all[n].value = points;
        all[n].dispatchEvent(new Event("input"));
      });
      document.body.innerHTML = `<pre id="told">${told.textContent}</pre><pre id="table"></pre><pre id="kept"></pre>`;
      document.getElementById("table").textContent = table();
      document.getElementById("kept").textContent = localStorage.getItem(place);
    """
    page = re.sub(r"<meta http-equiv.*?>", "", page_of("exam", ANSWERS))
    found = browse(page.replace("</body>", f"<script>{typed}</script></body>"))
    shown = {name: html.unescape(text) for name, text in re.findall(r'<pre id="(\w+)">(.*?)</pre>', found, re.DOTALL)}
    assert shown["told"] == "3 of 4 graded"
    assert "1.5" in shown["kept"]
    (tmp_path / "graded.csv").write_text(shown["table"], encoding="utf-8", newline="")
    graded = [row.values for row in rows("graded.csv", tmp_path / "graded.csv")]
    assert [tuple(row.values()) for row in graded] == [
        (answer.question_id, answer.sha256, points)
        for answer, points in zip(ANSWERS, ("1.5", "0", "", "3"), strict=True)
    ]
