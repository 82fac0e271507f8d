"""Makes Python on Linux look like Windows or macOS to the modules of glagcn, and to nothing else.

    EMULATED_SYSTEM=windows PYTHONPATH=tests/systems:. python -m pytest tests/poses

Python imports this file at its start, in subprocesses too.  The modules of glagcn get other `os`, `sys`, `signal`,
`time`, `faulthandler`, `socket` and `select`, without what the system lacks, and cannot import what it does not have.
As on Windows, a file that is open or mapped cannot be replaced or removed, a locked one not written, a folder cannot be
opened, what is only read cannot be flushed, and some characters cannot be in file names.  Other packages see Linux.
"""

import builtins
import errno
import importlib
import os
import re
import sys
import types
import warnings
from pathlib import Path

SYSTEM = os.environ.get("EMULATED_SYSTEM", "")

# Of the standard library, by "Availability" in its documentation.
POSIX_MODULES = "crypt curses fcntl grp nis ossaudiodev posix pty pwd readline resource spwd syslog termios tty"
NOT_ON_WINDOWS = {
    "os": r"(sched|posix|pthread|eventfd|timerfd)_\w+|(get|set)(res|e)?[ug]id|(get|set|init)groups|fork|forkpty"
    r"|register_at_fork|uname|getp?gid|getpgrp|[gs]etsid|[gs]etpriority|nice|setp?gid|setpgrp|setre[ug]id|killpg"
    r"|sysconf(_names)?|confstr(_names)?|f?pathconf|pathconf_names|f?statvfs|[fl]?chown|lchmod|mkfifo|mknod|major"
    r"|minor|makedev|p?readv?|p?writev?(?<!read)(?<!write)|preadv|sendfile|splice|wait[34]?|waitid|W[A-Z]+|P_[A-Z]+ALL"
    r"|getloadavg|ttyname|openpty|ctermid|tcgetpgrp|tcsetpgrp|lockf|F_\w+|fchdir|chroot|sync|fdatasync|pipe2"
    r"|memfd_create|getrandom|copy_file_range|[gsl]\w*xattr|fwalk|set_blocking|get_blocking|login_tty|unshare|setns"
    r"|O_(CLOEXEC|DIRECTORY|NOFOLLOW|NONBLOCK|SYNC|DSYNC|NOCTTY|DIRECT|TMPFILE|PATH|NDELAY|NOATIME|LARGEFILE|ASYNC)"
    r"|EX_\w+|RTLD_\w+|SCHED_\w+|PRIO_\w+|ST_\w+|spawnv?p?e?p",
    "signal": r"SIG(?!ABRT$|FPE$|ILL$|INT$|SEGV$|TERM$|_DFL$|_IGN$|nals$)[A-Z]\w*|pthread_\w+|sig(wait|timedwait)\w*"
    r"|sigpending|[gs]etitimer|ITIMER_\w+|alarm|pause|siginterrupt",
    "time": r"clock_(get|set)\w+|CLOCK_\w+|tzset|pthread_\w+",
    "faulthandler": r"(un)?register",
    "socket": r"AF_UNIX|socketpair|SO_REUSEPORT|AF_NETLINK|sethostname|send_fds|recv_fds",
    "select": r"poll|epoll|kqueue|POLL\w+|EPOLL\w+",
}  # fmt: skip
NOT_ON_MACOS = {
    "os": r"sched_(get|set)(affinity|param|scheduler)|posix_f\w+|pipe2|memfd_create|getrandom|copy_file_range|splice"
    r"|eventfd\w*|timerfd\w*|\w*xattr|setns|unshare|O_(DIRECT|TMPFILE|PATH|NOATIME|LARGEFILE)|[gs]etres[ug]id|fdatasync",
    "signal": r"SIG(RTMIN|RTMAX|POLL|PWR|STKFLT|CLD)|sig(timedwait|waitinfo)",
    "time": r"CLOCK_(BOOTTIME|TAI)|pthread_\w+",
    "socket": r"AF_NETLINK|AF_PACKET|SOCK_(CLOEXEC|NONBLOCK)",
    "select": r"epoll|EPOLL\w+",
}
MISSING_MODULES = {"windows": set(POSIX_MODULES.split()), "macos": {"spwd", "ossaudiodev", "nis"}}
BAD_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')


def without(module, pattern, replaced):
    """A module without the names that match a pattern, and with others replaced; writing goes to the module itself."""
    lacks = re.compile(pattern).fullmatch

    class Without(types.ModuleType):
        def __getattribute__(self, name):
            if name in replaced:
                return replaced[name]
            if lacks(name):
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} on {SYSTEM}")
            return getattr(module, name)

        def __setattr__(self, name, value):
            replaced.pop(name, None)
            setattr(module, name, value)

        def __delattr__(self, name):
            delattr(module, name)

    return Without(module.__name__)


def from_glagcn(depth=2):
    """Whether glagcn called, directly or through a function of the standard library such as Path.replace."""
    for _ in range(3):
        frame = sys._getframe(depth)
        if frame.f_globals.get("__name__", "").partition(".")[0] == "glagcn":
            return True
        depth += 1
        if frame.f_back is None:
            return False
    return False


def in_use(path):
    """Whether this process has the file open or mapped."""
    try:
        wanted = Path(path).stat()
    except OSError:
        return False
    for name in Path("/proc/self/fd").iterdir():
        try:
            found = os.fstat(int(name.name))
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    mapped = f" {wanted.st_ino} "
    return mapped in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")


def refusing(function, positions):
    """A function of os that refuses paths of files that are in use, if glagcn calls it."""

    def work(*paths, **options):
        if from_glagcn():
            for position in positions:
                if in_use(paths[position]):
                    text = "The process cannot access the file because it is being used by another process"
                    raise PermissionError(errno.EACCES, text, os.fspath(paths[position]))
        return function(*paths, **options)

    return work


def is_locked(path):
    """Whether the file has an exclusive lock, also of this process."""
    import fcntl

    descriptor = LINUX_OPEN(path, os.O_RDONLY) if Path(path).is_file() else None
    if descriptor is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def windows_open(path, flags, *more, **options):
    if from_glagcn() and Path(path).is_dir():
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
    return LINUX_OPEN(path, flags, *more, **options)


def windows_fsync(descriptor):
    import fcntl

    if from_glagcn() and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    return LINUX_FSYNC(descriptor)


def check_name(event, arguments):
    """An audit hook: refuse to make files and folders whose names Windows does not allow."""
    if event == "open":
        path, _, flags = arguments
        made = path if isinstance(path, str) and (flags or 0) & os.O_CREAT else ""
        if made and from_glagcn() and is_locked(made):
            raise PermissionError(errno.EACCES, "Permission denied", made)
    elif event in ("os.mkdir", "os.rename"):
        made = arguments[event == "os.rename"]
    else:
        return
    made = os.fspath(made) if not isinstance(made, int) else ""
    made = os.fsdecode(made)
    if any(BAD_NAME.search(part) for part in made.split("/") if part not in (".", "..")):
        raise OSError(errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect", made)


def emulate():
    """Replace the built-in import."""
    lacking = {"windows": NOT_ON_WINDOWS, "macos": NOT_ON_MACOS}[SYSTEM]
    replaced = {"sys": {"platform": {"windows": "win32", "macos": "darwin"}[SYSTEM]}}
    if SYSTEM == "windows":
        replaced["os"] = {"name": "nt"}
        os.open, os.fsync = windows_open, windows_fsync
        os.replace, os.rename = refusing(os.replace, (0, 1)), refusing(os.rename, (0, 1))
        os.unlink, os.remove = refusing(os.unlink, (0,)), refusing(os.remove, (0,))
        sys.addaudithook(check_name)
    views = {
        name: without(importlib.import_module(name), lacking.get(name, r"$^"), replaced.get(name, {}))
        for name in {*lacking, *replaced}
    }
    real = builtins.__import__

    def importing(name, globals=None, locals=None, fromlist=(), level=0):
        if globals and str(globals.get("__name__")).partition(".")[0] == "glagcn" and level == 0:
            if name.partition(".")[0] in MISSING_MODULES[SYSTEM]:
                raise ModuleNotFoundError(f"No module named {name!r} on {SYSTEM}", name=name)
            if name in views:
                return views[name]
        return real(name, globals, locals, fromlist, level)

    builtins.__import__ = importing
    if sys.flags.warn_default_encoding:  # cp1252 on Windows
        warnings.filterwarnings("error", category=EncodingWarning, module=r"glagcn\b")


LINUX_OPEN, LINUX_FSYNC = os.open, os.fsync
if SYSTEM:
    emulate()
