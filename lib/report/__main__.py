"""The commands of the report.

python -m lib.report make e5      figures of a study's published records, and figures/README.md
python -m lib.report make demo --records FILE --figures FOLDER    elsewhere, with the notebooks
python -m lib.report readme       write figures/README.md
"""

import argparse
import sys
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.report import gallery


def main() -> None:
    """Run one command; a StudyError becomes one sentence and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("make", "readme"))
    parser.add_argument("study", nargs="?", help="with make: a study of params/studies")
    parser.add_argument("--records", default="", help="file of records; default: those published")
    parser.add_argument("--figures", default="", help="folder to write to; default: figures/")
    asked = parser.parse_args()
    if asked.action == "make" and not asked.study:
        parser.error("name the study to make figures of")
    places = [
        str(Path(place).resolve()) if place else "" for place in (asked.records, asked.figures)
    ]
    try:
        if asked.action == "make":
            print("\n".join(gallery.make(asked.study, *places)))
        if not asked.figures:
            files.write_whole(files.FIGURES / "README.md", gallery.readme())
    except StudyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
