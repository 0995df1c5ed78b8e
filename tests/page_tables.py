"""Tables of Markdown pages, read back for tests."""


def rows_of(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose head begins with the column `first`, as lists of cells."""
    lines = text.split("\n")
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
