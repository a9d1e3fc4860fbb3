"""The answer of `mpio plan`: a timing sheet, and the files that bring its settings into force."""

import difflib
import re
from dataclasses import dataclass

from mpio.config.render import Rendered
from mpio.report.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Answer:
    """The sheet, and the files that bring its settings into force."""

    sheet: Sheet
    files: tuple[Rendered, ...] = ()

    def diff(self) -> str:
        """All files as one patch; a new file against nothing."""
        return "".join(_diff(item) for item in self.files)

    def read_me(self) -> str:
        """What is in the directory of `--write`, and what to do with it."""
        lines = [f"Written by mpio plan: {self.sheet.sentence}"]
        if self.sheet.kind == "assessment":
            lines.append("These are the changes that mend it.")
        lines.append("")
        lines += [f"{item.name} {item.value}" for item in self.sheet.asked]
        lines += ["", "Nothing here is in force yet. Paths are those on the host.", ""]
        for item in self.files:
            edit = f" (an edit of {item.before.file})" if item.before else ""
            lines.append(f"{item.path}{edit}: {item.about}")
        lines += ["", "Afterwards, on every node: multipathd reconfigure; look at what is in force in",
                  "/sys/class/iscsi_session/*/recovery_tmo and /sys/class/iscsi_connection/*/{recv,ping}_tmo;",
                  "and cut a path on purpose."]
        return "\n".join(lines) + "\n"


def _diff(item: Rendered) -> str:
    before = b"" if item.before is None else item.before.render()
    old_name, new_name = ("/dev/null", item.path) if item.before is None else (item.before.file, item.before.file)
    old, new = (re.findall(r"[^\n]*\n|[^\n]+", data.decode("utf-8", "surrogateescape")) for data in (before, item.data))
    lines = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
             for line in difflib.unified_diff(old, new, old_name, new_name)]
    return "".join(lines)
