"""The stages of a student that is being made, which a kill does not undo."""

import contextlib
import json
import shutil
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.model import encoder

_NOTES = "notes.json"


def free(out: str) -> Path:
    """The absolute path of a folder to make; StudyError if it holds something already.

    If that is a whole result, what a kill left of its stages goes.
    """
    folder = Path(out).expanduser().absolute()
    if not out or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        work, card = _work(folder), folder / "README.md"
        if card.is_file() and _notes(work).get("card") == card.read_text(encoding="utf-8"):
            _remove(work)
        raise StudyError(f"out: {out!r} is not a new or empty folder; name one for the result")
    return folder


class Work:
    """The finished stages of a student, in the folder `<out>.work` until the student is whole.

    Begun again with the same request after a kill, it has what was finished. Another process waits.
    Raises StudyError if the stages there are of another request.
    """

    def __init__(self, out: Path, request: dict):
        self.out, self.folder = out, _work(out)
        self._file, self._made = self.folder / _NOTES, False
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(files.alone(self.folder, f"making {self.out}"))
        request = json.loads(json.dumps(request))
        before = _notes(self.folder).get("request", {})
        if any(file != self._file for file in self.folder.glob("*")) and before != request:
            self._lock.close()
            names = [
                name for name in {**request, **before} if before.get(name) != request.get(name)
            ]
            raise StudyError(
                f"{self.folder} holds stages of another request ({', '.join(names)}); give the "
                "same parameters to go on, or remove that folder to begin again"
            )
        if before != request or not self._file.exists():
            files.write_json(self._file, {"request": request})

    def noted(self, name: str, make):
        """The value noted under a name; where there is none, `make()` gives it, and it is noted."""
        if name not in _notes(self.folder):
            self._note(name, make())
        return _notes(self.folder)[name]

    def has(self, stage: str) -> bool:
        """Whether a stage is finished; a printed line says so."""
        found = (self.folder / stage).exists()
        if found:
            print(f"the stage {stage} was finished before")
        return found

    def keep(self, stage: str, model, tokenizer) -> None:
        """Save the model of a stage; its checkpoints go."""
        encoder.save(model, tokenizer, self.folder / stage, f"# {stage}, for {self.out.name}\n")
        shutil.rmtree(self.checkpoints(stage), ignore_errors=True)

    def load(self, stage: str):
        """(model, tokenizer) of a finished stage."""
        return encoder.load(self.folder / stage)

    def checkpoints(self, name: str) -> Path:
        """Folder of the checkpoints of a stage's training."""
        return self.folder / f"{name}.training"

    @property
    def result(self) -> Path:
        """Folder of what becomes `out`."""
        return self.folder / "result"

    def finish(self, card: str) -> Path:
        """The folder `out`: the result with its card, whole. The stages go, if they are there."""
        if not self._made:
            free(str(self.out))
            self._note("card", card)
            with files.whole_folder(self.out) as part:
                shutil.copytree(self.result, part, dirs_exist_ok=True)
                (part / "README.md").write_text(card, encoding="utf-8")
            self._made = True
        _remove(self.folder)
        self._lock.close()
        return self.out

    def _note(self, name: str, value) -> None:
        files.write_json(self._file, _notes(self.folder) | {name: value})


def _work(out: Path) -> Path:
    return out.with_name(f"{out.name}.work")


def _notes(work: Path) -> dict:
    file = work / _NOTES
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _remove(work: Path) -> None:
    """Remove all stages, then the notes."""
    for stage in work.glob("*/"):
        shutil.rmtree(stage, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
