"""The account that Elasticsearch runs as, which must not be root.

Root switches to an unprivileged account; any other user keeps their own.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local_stack.errors import StackError

NOBODY = 65_534
TRY_SECONDS = 20


@dataclass(frozen=True)
class Account:
    """The account that a command runs as.

    Attributes:
        prefix: Words before the command line that change the account.
        owner: User id that must own the files it writes; None: no change.
    """

    prefix: tuple[str, ...]
    owner: int | None


CURRENT_USER = Account((), None)


def _setpriv(capability: str) -> Account:
    # Without no_setuid_fixup, access(2), which Java calls to find out whether a file can be read, ignores capabilities.
    return Account(
        (
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            *(
                (
                    f"--inh-caps=-all,+{capability}",
                    f"--ambient-caps=-all,+{capability}",
                    "--securebits=+no_setuid_fixup",
                )
                if capability
                else ()
            ),
        ),
        owner=NOBODY,
    )


# Each must be able to reach jars and data below a private directory (/root, a mktemp -d). A process in a user namespace
# can: its user is `nobody`, while it still accesses files as root. Where namespaces are forbidden (many containers), a
# capability helps.
CANDIDATES_FOR_ROOT = (
    Account(("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), owner=0),
    _setpriv("dac_read_search"),
    _setpriv("dac_override"),
    _setpriv(""),
)


def unprivileged(must_read: Path) -> Account:
    """Finds an account that is not root and can read a file.

    Raises:
        StackError: this is root, and no other account here can read the file.
    """
    if os.geteuid() != 0:
        return CURRENT_USER
    for candidate in CANDIDATES_FOR_ROOT:
        if _works(candidate, must_read):
            return candidate
    raise StackError(
        f"elasticsearch refuses to run as root, and root cannot switch to a user who can read {must_read} "
        "(tried: unshare --user, setpriv). Run the stack as an ordinary user, or set XDG_CACHE_HOME to a folder "
        "everybody can read."
    )


def give_folders_to(chosen: Account, folders: list[Path]) -> None:
    """Makes the account the owner of folders and of everything in them."""
    if chosen.owner is not None:
        for folder in folders:
            for path in _all_below(folder):
                os.chown(path, chosen.owner, chosen.owner, follow_symlinks=False)


def _works(candidate: Account, must_read: Path) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [*candidate.prefix, "test", "-r", str(must_read)], capture_output=True, timeout=TRY_SECONDS, check=False
        )
        return done.returncode == 0
    return False


def _all_below(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")
