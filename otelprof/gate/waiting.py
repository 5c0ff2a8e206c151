"""What a stack of a wall or off-CPU profile does: run, or wait, for what, and where in the program.

Frames are looked at from the leaf up, as far as they belong to a runtime, a standard library or a kernel: the
first that is known to wait says for what; the function of the program above it is where. All of it is told by
names: of Go, the JVM, CPython, Node, libc and Linux; a stack that is not known is taken to run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(StrEnum):
    """What time is spent on."""

    CPU = "cpu"
    LOCK = "lock"
    SLEEP = "sleep"
    IO = "io"
    GC = "gc"
    SCHEDULER = "scheduler"
    OFF_CPU = "off-cpu"
    OTHERS = "others"
    IDLE = "idle"


IN_WORDS: Final = {
    Kind.CPU: "on CPU",
    Kind.LOCK: "waits for a lock",
    Kind.SLEEP: "sleeps",
    Kind.IO: "waits for IO",
    Kind.GC: "waits for the garbage collector",
    Kind.SCHEDULER: "waits for a CPU",
    Kind.OFF_CPU: "waits, for what is not told",
    Kind.OTHERS: "waits for another thread",
    Kind.IDLE: "has nothing to do",
}

CAUSES: Final = (Kind.LOCK, Kind.SLEEP, Kind.IO, Kind.GC, Kind.SCHEDULER, Kind.OFF_CPU)
"""Waiting for a cause of its own. Who waits for another thread waits for what that one does."""


@dataclass(frozen=True, order=True)
class Site:
    """Where time goes.

    Attributes:
        kind: what it is spent on.
        function: of the program; of a runtime, where no function of the program is in the stack.
        by: what waits, as `sync.(*Mutex).Lock`; empty on a CPU.
    """

    kind: Kind
    function: str
    by: str = ""


_PATTERNS: Final = {
    Kind.LOCK: (
        r"(?:internal/)?sync\.\(\*(?:RW)?Mutex\)\.(?:R?Lock|lockSlow|r?lockSlow)",
        r"(?:internal/)?sync\.runtime_Semacquire(?:RW)?Mutex\w*",
        r"runtime\.lock2?",
        r"(?:__)?pthread_(?:mutex|rwlock)_\w*lock\w*|(?:__)?lll_lock_wait\w*",
        r"Object(?:Monitor|Synchronizer)::enter\w*|.*Runtime(?:1)?::(?:complete_)?monitor\w*enter\w*",
        r"java[./]util[./]concurrent[./]locks[./]Reentrant\w*Lock(?:\$\w+)?\.(?:lock\w*|tryLock|initialTryLock)",
        r"java[./]util[./]concurrent[./]locks[./]AbstractQueued\w*Synchronizer\.acquire\w*",
        r"(?:acquire|__enter__) \(threading\.py.*\)|threading\.\w*Lock\.(?:acquire|__enter__)",
        r"std::sync::.*(?:Mutex|RwLock).*::(?:lock|read|write)\w*|parking_lot::.*lock_\w*slow\w*",
    ),
    Kind.SLEEP: (
        r"time\.Sleep",
        r"(?:__)?(?:clock_|do_|hrtimer_|common_)?nanosleep\w*|usleep|sleep",
        r"java[./]lang[./]Thread\.sleep\w*|JVM_Sleep|JavaThread::sleep\w*|std::thread::sleep\w*",
    ),
    Kind.IO: (
        r"internal/poll\.runtime_pollWait|runtime\.netpollblock",
        r"(?:syscall\.|internal/poll\.\(\*FD\)\.|os\.\(\*File\)\.)(?:Fsync|Fdatasync|Sync)",
        r"(?:__)?(?:fsync|fdatasync|sync_file_range)\w*",
        r"io_schedule\w*|(?:wait_on_page|folio_wait)_bit\w*|sk_wait_data|inet_csk_accept|jbd2_log_wait_commit",
        r"(?:do_|__)?(?:ep_poll|epoll_p?wait\w*|poll|ppoll|select|kevent\w*)",
        r"(?:__libc_|__)?(?:recv|recvfrom|recvmsg|accept4?|connect)",
        r"sun[./]nio[./]ch[./]\w+\.(?:poll|epollWait|wait|read0|accept0?|connect0?|park)",
        r"java[./]net[./](?:Socket\w*|PlainSocket\w*)\.(?:socket\w*|read|accept)",
        r"(?:recv|recv_into|readinto|accept) \((?:socket|ssl)\.py.*\)|(?:select|poll) \(selectors\.py.*\)",
    ),
    Kind.GC: (
        r"runtime\.(?:gcAssistAlloc\w*|gcParkAssist|stopTheWorld\w*|gcStart|gcMarkDone|gcMarkTermination)",
        r"SafepointSynchronize::block|\(garbage collector\)|:Garbage Collection:\d+",
    ),
    Kind.SCHEDULER: (
        r"runtime\.(?:goyield|Gosched|gosched_m)",
        r"(?:__)?(?:preempt_schedule\w*|schedule_preempt\w*|cond_resched)|exit_to_user_mode_loop",
    ),
    Kind.OTHERS: (
        r"runtime\.(?:selectgo|chanrecv\d?|chansend\d?|block|notetsleepg?)",
        r"sync\.\(\*(?:Cond|WaitGroup)\)\.Wait|sync\.runtime_(?:notifyListWait|Semacquire(?:WaitGroup)?)",
        r"(?:__)?pthread_(?:cond_\w*wait\w*|join\w*)|(?:__new_|__)?sem_\w*wait\w*(?:\.constprop\.\d+)?",
        r"java[./]lang[./](?:Object\.wait\w*|Thread\.join)|ObjectMonitor::wait",
        r"java[./]util[./]concurrent[./](?:CountDownLatch|locks[./]\w+\$ConditionObject)\.await\w*",
        r"java[./]util[./]concurrent[./](?:FutureTask|CompletableFuture)\.(?:\w*get|join|awaitDone)",
        r"(?:wait|wait_for|join) \(threading\.py.*\)|get \(queue\.py.*\)",
    ),
}
_KINDS: Final = tuple((kind, re.compile("|".join(patterns))) for kind, patterns in _PATTERNS.items())

# Whoever waits here waits for work, whatever it is called below.
_IDLE: Final = re.compile(
    r"net\.\(\*\w+Listener\)\.[Aa]ccept\w*"
    r"|net/http\.\(\*(?:persistConn)\)\.(?:readLoop|writeLoop)|net/http\.\(\*connReader\)\.backgroundRead"
    r"|runtime/pprof\..*|github\.com/felixge/fgprof\..*|os/signal\..*"
    r"|runtime\.(?:bgsweep|bgscavenge|forcegchelper|runfinq|sysmon|gcBgMarkWorker|timerproc|ensureSigM\.\w+)"
    r"|database/sql\.\(\*DB\)\.connection\w+"
    r"|java[./]util[./]concurrent[./](?:ThreadPoolExecutor\.getTask|ForkJoinPool\.(?:runWorker|awaitWork|scan))"
    r"|java[./]lang[./]ref[./].*|jdk[./]internal[./]ref[./].*"
    r"|(?:Compile(?:Queue|Broker)|G1\w*Thread|WatcherThread|VMThread|NotificationThread|Profiler)::\w+"
    r"|\w+Thread::run_service|signal_thread_entry"
    r"|_worker \(concurrent/futures/thread\.py.*\)|:?\((?:idle|program)\)(?::\d+)?"
)
# Between two requests on a connection that is kept open.
_NEXT_REQUEST: Final = ("net/http.(*conn).serve", "bufio.(*Reader).Peek")

_ON_CPU: Final = (
    (
        Kind.GC,
        re.compile(r"runtime\.(?:gcBgMarkWorker|gcAssistAlloc\w*|bgsweep|bgscavenge|gcDrain\w*|gcStart)"),
    ),
    (
        Kind.SCHEDULER,
        re.compile(r"runtime\.(?:schedule|findRunnable|mcall|park_m|goschedImpl|sysmon|wakep|ready)"),
    ),
)

_GO_STANDARD: Final = (
    "archive|bufio|bytes|cmp|compress|container|context|crypto|database|debug|embed|encoding|errors|expvar|flag"
    "|fmt|go|hash|html|image|index|internal|io|iter|log|maps|math|mime|net|os|path|plugin|reflect|regexp|runtime"
    "|slices|sort|strconv|strings|structs|sync|syscall|testing|text|time|unicode|unique|unsafe|weak|vendor"
)
# What is not the program: no function of it is to blame for how a lock is built.
_PLUMBING: Final = re.compile(
    rf"(?:{_GO_STANDARD})(?:/[\w./-]+)?\..+|gcWriteBarrier|type[:.].*"
    r"|(?:java|javax|jdk|sun|com/sun|com\.sun)[./].+|\w*(?:Monitor|Runtime\d?|Synchronizer|Parker|Safepoint\w*)::.*"
    r"|.* \((?:threading|socket|ssl|selectors|queue|concurrent/futures/\w+|asyncio/\w+)\.py.*\)"
    r"|(?:std|core|alloc|tokio|parking_lot)::.*|Unsafe_Park|JVM_\w+|os::.*"
    r"|.*_\[k\]|(?:__|_)\w+|(?:pthread|futex|do_futex|ep_|epoll|entry_|do_syscall|sys_|x64_sys|schedule)\w*"
    r"|start_thread|clone3?|\(idle\)|\(program\)|\(garbage collector\)|\[.*\]|(?:node|libuv|uv)[:_].*"
)


@lru_cache(maxsize=200_000)
def _kind_of(name: str) -> Kind | None:
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), None)


@lru_cache(maxsize=200_000)
def is_plumbing(name: str) -> bool:
    """Whether a function is of a runtime, a standard library or a kernel, as far as its name tells."""
    return _kind_of(name) is not None or _PLUMBING.fullmatch(name) is not None


@lru_cache(maxsize=200_000)
def _is_idle(name: str) -> bool:
    return _IDLE.fullmatch(name) is not None


def site_of_wall(stack: Sequence[str], *, all_wait: bool = False) -> Site:
    """Where a stack of a wall profile spends its time.

    Args:
        stack: functions, root first.
        all_wait: the profile holds nothing that runs, as an off-CPU profile does.
    """
    at, kind = _wait(stack)
    if kind is None:
        leaf = len(stack) - 1
        return Site(Kind.OFF_CPU, _program(stack, leaf), stack[leaf]) if all_wait else site_on_cpu(stack)
    idle = next((name for name in stack if _is_idle(name)), None)
    if idle is None and all(name in stack for name in _NEXT_REQUEST):
        idle = _NEXT_REQUEST[0]
    return Site(kind, _program(stack, at), stack[at]) if idle is None else Site(Kind.IDLE, idle, stack[at])


def site_on_cpu(stack: Sequence[str]) -> Site:
    """Who a stack of a cpu profile works for: the function of the program that is nearest to its leaf."""
    program = next((name for name in reversed(stack) if not is_plumbing(name)), None)
    if program is None:
        for kind, pattern in _ON_CPU:
            if any(map(pattern.fullmatch, stack)):
                return Site(Kind.CPU, f"({kind})")
        return Site(Kind.CPU, "(runtime)")
    return Site(Kind.CPU, program)


def site_of_contention(stack: Sequence[str], *, only_locks: bool = False) -> Site:
    """Where a stack of a block or mutex profile waits, or, as in a mutex profile of Go, lets others go on.

    Args:
        stack: functions, root first; a lock profile of the JVM has the class of the lock as its leaf.
        only_locks: the profile knows of nothing else.
    """
    found = site_of_wall(stack, all_wait=True)
    if found.kind is Kind.OFF_CPU and (only_locks or "nlock" in found.by):
        return Site(Kind.LOCK, found.function, found.by)
    return found


def _wait(stack: Sequence[str]) -> tuple[int, Kind | None]:
    """The frame that waits, and for what: of several that belong together, the one nearest to the root."""
    at, kind = len(stack), None
    for place in range(len(stack) - 1, -1, -1):
        found = _kind_of(stack[place])
        if kind is not None and found is not kind:
            break
        if found is not None:
            at, kind = place, found
        elif not is_plumbing(stack[place]):
            break
    return at, kind


def _program(stack: Sequence[str], before: int) -> str:
    """The function of the program above a frame; without one, what is just above it."""
    for place in range(before - 1, -1, -1):
        if not is_plumbing(stack[place]):
            return stack[place]
    return stack[max(before - 1, 0)]
