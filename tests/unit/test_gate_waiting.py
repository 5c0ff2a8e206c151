"""What stacks wait for, and where, by the names of several languages."""

from __future__ import annotations

import pytest

from otelprof.gate.waiting import Kind, Site, is_plumbing, site_of_contention, site_of_wall, site_on_cpu

SERVE = "runtime.goexit;net/http.(*conn).serve;net/http.HandlerFunc.ServeHTTP;main.handle;"

WALL = {
    f"{SERVE}main.audit;sync.(*Mutex).Lock;internal/sync.(*Mutex).Lock;internal/sync.(*Mutex).lockSlow;"
    "internal/sync.runtime_SemacquireMutex;runtime.semacquire1;runtime.goparkunlock;runtime.gopark": (
        Site(Kind.LOCK, "main.audit", "sync.(*Mutex).Lock")
    ),
    f"{SERVE}main.audit;time.Sleep;runtime.gopark": Site(Kind.SLEEP, "main.audit", "time.Sleep"),
    f"{SERVE}github.com/lib/pq.(*conn).query;net.(*conn).Read;net.(*netFD).Read;internal/poll.(*FD).Read;"
    "internal/poll.(*pollDesc).wait;internal/poll.runtime_pollWait;runtime.netpollblock;runtime.gopark": (
        Site(Kind.IO, "github.com/lib/pq.(*conn).query", "internal/poll.runtime_pollWait")
    ),
    f"{SERVE}main.fetch;runtime.selectgo;runtime.gopark": Site(Kind.OTHERS, "main.fetch", "runtime.selectgo"),
    f"{SERVE}main.parse;runtime.mallocgc;runtime.gcAssistAlloc;runtime.gcParkAssist;runtime.gopark": (
        Site(Kind.GC, "main.parse", "runtime.gcAssistAlloc")
    ),
    f"{SERVE}main.audit;sync.(*Mutex).Unlock;runtime.semrelease1;runtime.goyield": (
        Site(Kind.SCHEDULER, "main.audit", "runtime.goyield")
    ),
    f"{SERVE}main.score;runtime.asyncPreempt;runtime.asyncPreempt2": Site(Kind.CPU, "main.score"),
    f"{SERVE}sync.(*Once).Do;main.load;encoding/json.Unmarshal": Site(Kind.CPU, "main.load"),
    "runtime.goexit;net/http.(*persistConn).writeLoop;runtime.selectgo;runtime.gopark": (
        Site(Kind.IDLE, "net/http.(*persistConn).writeLoop", "runtime.selectgo")
    ),
    "runtime.goexit;net/http.(*conn).serve;bufio.(*Reader).Peek;net.(*conn).Read;"
    "internal/poll.runtime_pollWait;runtime.gopark": (
        Site(Kind.IDLE, "net/http.(*conn).serve", "internal/poll.runtime_pollWait")
    ),
    "java/lang/Thread.run;shop/Cart.add;java/util/concurrent/locks/ReentrantLock.lock;"
    "java/util/concurrent/locks/AbstractQueuedSynchronizer.acquire;"
    "java/util/concurrent/locks/LockSupport.park;jdk/internal/misc/Unsafe.park;__futex_wait": (
        Site(Kind.LOCK, "shop/Cart.add", "java/util/concurrent/locks/ReentrantLock.lock")
    ),
    "java/lang/Thread.run;shop/Cart.add;ObjectMonitor::enter": (
        Site(Kind.LOCK, "shop/Cart.add", "ObjectMonitor::enter")
    ),
    "java/lang/Thread.run;java/util/concurrent/ThreadPoolExecutor.getTask;"
    "java/util/concurrent/locks/AbstractQueuedSynchronizer$ConditionObject.await": (
        Site(
            Kind.IDLE,
            "java/util/concurrent/ThreadPoolExecutor.getTask",
            "java/util/concurrent/locks/AbstractQueuedSynchronizer$ConditionObject.await",
        )
    ),
    "<module> (app.py:1);work (app.py:9);acquire (threading.py:327)": (
        Site(Kind.LOCK, "work (app.py:9)", "acquire (threading.py:327)")
    ),
    "main;work;pthread_mutex_lock;__lll_lock_wait": Site(Kind.LOCK, "work", "pthread_mutex_lock"),
    "main;work;fsync;entry_SYSCALL_64_after_hwframe_[k];do_syscall_64_[k]": Site(Kind.IO, "work", "fsync"),
    "main;work": Site(Kind.CPU, "work"),
}


@pytest.mark.parametrize("stack", WALL)
def test_what_a_stack_waits_for(stack: str) -> None:
    """The frame that waits tells for what, the function of the program above it where; others run."""
    assert WALL[stack] == site_of_wall(stack.split(";"))


def test_who_a_cpu_is_for() -> None:
    """The function of the program nearest to the leaf; without one, the collector or the scheduler."""
    stacks = {
        f"{SERVE}encoding/json.Marshal;runtime.mallocgc": "main.handle",
        "runtime.gcBgMarkWorker;runtime.systemstack;runtime.gcDrain": "(gc)",
        "runtime.mcall;runtime.park_m;runtime.schedule;runtime.findRunnable": "(scheduler)",
        "runtime.goexit;net/http.(*conn).serve": "(runtime)",
    }
    assert {stack: Site(Kind.CPU, name) for stack, name in stacks.items()} == {
        stack: site_on_cpu(stack.split(";")) for stack in stacks
    }


def test_a_mutex_profile_of_go_shows_who_let_go() -> None:
    """Where a lock was let go is where it was held."""
    stack = f"{SERVE}main.audit;sync.(*Mutex).Unlock"
    assert Site(Kind.LOCK, "main.audit", "sync.(*Mutex).Unlock") == site_of_contention(stack.split(";"))


def test_a_lock_profile_of_the_jvm_ends_in_the_lock() -> None:
    """Its leaf is the class of the lock, and there is nothing in it but locks."""
    stack = ["java/lang/Thread.run", "shop/Cart.add", "java.lang.Object_[i]"]
    expected = Site(Kind.LOCK, "shop/Cart.add", "java.lang.Object_[i]")
    assert expected == site_of_contention(stack, only_locks=True)


def test_what_an_off_cpu_profile_holds_waits() -> None:
    """A stack that is not known waits, for what is not told."""
    assert Site(Kind.OFF_CPU, "main", "work") == site_of_wall(["main", "work"], all_wait=True)
    assert Site(Kind.OFF_CPU, "main", "main") == site_of_wall(["main"], all_wait=True)


def test_the_program_is_not_plumbing() -> None:
    """Functions of programs are theirs, whatever they are called; those of runtimes are not."""
    program = [
        "main.run",
        "github.com/x/net.Read",
        "shop/Runtime.lock",
        "work (queue_worker.py:3)",
        "do_work",
    ]
    runtimes = ["runtime.mallocgc", "net/http.(*conn).serve", "java/util/HashMap.get", "vfs_read_[k]"]
    assert [False] * len(program) == [is_plumbing(name) for name in program]
    assert [True] * len(runtimes) == [is_plumbing(name) for name in runtimes]
