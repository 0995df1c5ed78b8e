"""The pages for readers agree with the project: links, commands, tables, numbers and examples."""

import importlib.util
import re
import subprocess
import sys

import pytest

from lib import facts, files

PAGES = [files.ROOT / "README.md", files.ROOT / "CONTRIBUTING.md"]
PAGES += sorted((files.ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)]+)\)")
NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|[.,]\d)")
TASKS = {"topic": "tc", "sentiment": "sa", "entities": "ner", "parts of speech": "pos"}
SAME = ("parameters (M)", "compression (%)", "average")  # columns with the same name in both tables

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page):
    return page.read_text(encoding="utf-8")


def code_of(page):
    """The commands of a page: lines of its fenced blocks, and its inline code."""
    text = text_of(page)
    lines = [line.strip() for _, block in FENCE.findall(text) for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def anchors(page):
    """The names of a page's headings, as a code host links them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table_rows(text):
    """The rows of the tables in a text, as dictionaries from column to cell."""
    rows, columns = [], None
    for line in text.splitlines():
        inside = line.strip().removeprefix("|").removesuffix("|")
        cells = [cell.strip() for cell in inside.split("|")] if line[:1] == "|" else None
        if cells is None:
            columns = None
        elif columns is None:
            columns = cells
        elif not re.fullmatch(r"[-:| ]+", line):
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def section(text, heading):
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def numbers(text):
    return set(NUMBER.findall(text))


@each_page
def test_links_point_to_what_exists(page):
    for link in LINK.findall(text_of(page)):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links {link}"


@each_page
def test_commands_exist(page):
    makefile = text_of(files.ROOT / "Makefile")
    targets = {name for line in re.findall(r"^([a-z ]+):", makefile, re.M) for name in line.split()}
    for line in code_of(page):
        command = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)
        if made := re.match(r"make ([a-z]+)", command):
            assert made[1] in targets, line
        if module := re.match(r"python -m (lib\.\w+)( [a-z]+)?", command):
            main = importlib.util.find_spec(f"{module[1]}.__main__")
            assert main, line
            commands = (files.ROOT / main.origin).read_text(encoding="utf-8")
            assert not module[2] or f'"{module[2].strip()}"' in commands, line
        if script := re.match(r"(?:python|papermill) ([\w/]+\.\w+)", command):
            assert (files.ROOT / script[1]).is_file(), line


def test_the_readme_is_short_and_shows_the_picture():
    readme = text_of(files.ROOT / "README.md")
    assert len(readme.splitlines()) <= 150
    assert "](figures/e5_size_against_score.svg)" in readme


def test_the_readme_table_has_the_rows_of_the_main_table():
    main_table = text_of(files.FIGURES / "e5_main_table.md")
    shown = table_rows(section(text_of(files.ROOT / "README.md"), "What was found so far"))
    ngrams = {
        row["language"]: row
        for row in table_rows(section(main_table, "Without an encoder"))
        if row["baseline"] == "ngrams"
    }
    languages = {"mlt": "Maltese", "slk": "Slovak", "swh": "Swahili"}
    steps = facts.read_yaml(files.PARAMS / "studies" / "e5.yaml")["steps"]
    student = f"hidden {steps['hidden']['hidden_size']}"
    assert [row["language"] for row in shown] == [n for n in languages.values() for _ in range(3)]
    for code, language in languages.items():
        rows = table_rows(section(main_table, f"{language}, e5-small"))
        models = [row for row in rows if "parameters (M)" in row]
        teacher = next(row["model"] for row in rows if row.get("Δ average") == "reference")
        none = dict.fromkeys(SAME, "")
        of_name = {
            "character n-grams": none | {task: ngrams[code][task] for task in TASKS.values()},
            "teacher": next(row for row in models if row["model"] == teacher),
            "finished student": next(row for row in models if row["model"] == student),
        }
        rows = [row for row in shown if row["language"] == language]
        assert [row["model"] for row in rows] == list(of_name)
        for row in rows:
            expected = {name: of_name[row["model"]][name] for name in SAME}
            expected |= {name: of_name[row["model"]][task] for name, task in TASKS.items()}
            assert {name: row[name] for name in expected} == expected


def paragraphs(text):
    """The paragraphs and list items of a text, without headings."""
    for part in re.split(r"\n\s*\n|\n(?=- )", text):
        if part.strip() and not part.startswith("#"):
            yield part


def test_numbers_of_the_findings_are_in_the_tables_they_link():
    """Names of code, such as `e5-small`, and link targets are not numbers of results."""
    page = files.ROOT / "docs" / "findings.md"
    checked = set()
    for paragraph in paragraphs(text_of(page)):
        linked = [(page.parent / link).resolve() for link in LINK.findall(paragraph)]
        tables = [file for file in linked if file.parent == files.FIGURES and file.suffix == ".md"]
        stated = re.sub(r"`[^`]*`", "", re.sub(r"\[[^\]]*\]\([^)]*\)", "", paragraph))
        unknown = numbers(stated) - {number for file in tables for number in numbers(text_of(file))}
        assert not unknown, (
            f"{sorted(unknown)} is in no table that this paragraph links:\n{paragraph}"
        )
        checked |= numbers(stated)
    assert len(checked) > 30


def test_the_speed_page_has_the_benchmark_table():
    rows, committed = (
        [line for line in text_of(file).splitlines() if line.startswith("|")]
        for file in (files.ROOT / "docs" / "speed.md", files.FIGURES / "benchmark.md")
    )
    assert rows == committed, "docs/speed.md: copy the table of figures/benchmark.md"


def test_the_times_in_the_prose_of_the_speed_page_are_in_its_table():
    text = text_of(files.ROOT / "docs" / "speed.md")
    (said,) = (part for part in text.split("\n\n") if part.startswith("With one thread, a text"))
    times = re.findall(r"[\d.]+(?= ms)", said)
    row = "\n".join(line for line in text.splitlines() if line.startswith("| cpu | 1 |"))
    assert len(times) == 3 and all(f"| {time} |" in row for time in times)


@pytest.mark.slow
def test_python_examples_run():
    page = files.ROOT / "docs" / "running.md"
    examples = [code for kind, code in FENCE.findall(text_of(page)) if kind == "python"]
    assert examples
    for code in examples:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "vocabulary" in done.stdout
