"""The queue: one run at a time, whoever is killed; stop, resume, remove, order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from fallow.files import locked
from fallow.problems import Problem
from fallow.studio import processes, worker
from fallow.studio.queue import Queue

# a command line that starts at once: `wait FILE` says it is there and waits for the file,
# `note FILE` writes when it began and ended, `stubborn` does not let itself be asked
SLEEPER = """
import os, signal, sys, time
verb, *words = sys.argv[1:]
print("begun", verb, flush=True)
if verb == "wrong":
    print("fallow: there is no such thing: did you mean that?", file=sys.stderr)
    sys.exit(2)
if verb == "broken":
    raise RuntimeError("oh")
if verb == "saves":
    def leave(*_):
        print("stopped at step 7", flush=True)
        sys.exit(130)
    signal.signal(signal.SIGTERM, leave)
if verb == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(words[0] + ".on", "a").write("x")
while verb != "quick" and not os.path.exists(words[0]):
    time.sleep(0.01)
os.remove(words[0] + ".on")
print("report: here")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text(textwrap.dedent(SLEEPER))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    queue = Queue(tmp_path / "queue", "sleeper")
    for run in queue.runs():
        if run.state == "queued":  # a worker that is still there begins no other
            queue.update(run.id, state="stopped")
        who = read(queue, run, "process.json")
        if who:
            processes.end(who["pid"], who["born"], at_once=True)


def read(queue, run, name):
    path = queue.files(run) / name
    return json.loads(path.read_text()) if path.exists() else None


def until(asked, what="it"):
    """Wait for something that processes bring about; how long is nobody's result."""
    for _ in range(1500):
        if found := asked():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about")


def state(queue, run):
    return queue.run(run.id).state


def ended(queue, *runs):
    until(lambda: all(state(queue, run) not in ("queued", "running") for run in runs), "the end")
    return [queue.run(run.id) for run in runs]


def begun(place, name):
    until((place / f"{name}.on").exists, f"run {name}")


def test_runs_are_worked_off_one_at_a_time_and_in_order(place):
    queue = Queue(place / "queue", "sleeper")
    one, two, three = (queue.add("wait", {}, [name]) for name in ("a", "b", "c"))
    begun(place, "a")
    assert [state(queue, run) for run in (one, two, three)] == ["running", "queued", "queued"]
    queue.order([three.id, two.id])
    (place / "a").touch()
    begun(place, "c")
    assert [state(queue, run) for run in (one, two, three)] == ["done", "queued", "running"]
    assert not (place / "b.on").exists()
    (place / "b").touch()
    (place / "c").touch()
    assert [run.state for run in ended(queue, two, three)] == ["done", "done"]
    assert [run.id for run in queue.runs()] == [one.id, three.id, two.id]
    assert (queue.files(one) / "stdout").read_text() == "begun wait\nreport: here\n"


def test_a_mistake_is_kept_as_the_sentence_it_is(place):
    queue = Queue(place / "queue", "sleeper")
    wrong, broken = ended(queue, queue.add("wrong", {}, []), queue.add("broken", {}, []))
    assert (wrong.state, wrong.code) == ("failed", 2)
    assert wrong.sentence == "there is no such thing: did you mean that?"
    assert (broken.state, broken.code) == ("failed", 1)
    assert broken.sentence == "this should not happen, and is worth reporting: RuntimeError: oh"
    assert "Traceback" in (queue.files(broken) / "stderr").read_text()


def test_a_run_is_stopped_and_resumed_with_the_same_words(place):
    queue = Queue(place / "queue", "sleeper")
    run = queue.add("saves", {"out": "a"}, ["a"], out="a")
    begun(place, "a")
    queue.stop(run.id)
    [stopped] = ended(queue, run)
    assert (stopped.state, stopped.code, stopped.stopping) == ("stopped", 130, False)
    (place / "a.on").unlink()
    queue.resume(run.id)
    begun(place, "a")
    (place / "a").touch()
    [done] = ended(queue, run)
    assert (done.state, done.words) == ("done", ["a"])
    assert done.spent == stopped.seconds
    said = (queue.files(run) / "stdout").read_text()
    assert said == "begun saves\nstopped at step 7\nbegun saves\nreport: here\n"


def test_who_does_not_let_himself_be_asked_is_ended(place, monkeypatch):
    monkeypatch.setattr(worker, "GRACE", 0.1)
    monkeypatch.setattr(Queue, "wake", lambda self: None)  # the worker is this process
    queue = Queue(place / "queue", "sleeper")
    run = queue.add("stubborn", {}, ["a"])
    child = worker.start(queue, run)
    begun(place, "a")
    queue.stop(run.id)
    worker.attend(queue, run, child)
    assert (state(queue, run), child.returncode) == ("stopped", -signal.SIGKILL)


def worker_of(queue):
    """The workers' processes, known by their place."""
    words = ["ps", "-eww", "-o", "pid=,args="]
    needle = f"fallow.studio.worker {queue.place} "
    found = subprocess.run(words, capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if needle in f"{line} "]


def alone(queue):
    """The one worker, once those that were one too many have left."""
    [one] = until(lambda: len(found := worker_of(queue)) == 1 and found, "one worker")
    return one


def test_a_killed_worker_leaves_its_run_and_the_next_one_takes_it_over(place):
    queue = Queue(place / "queue", "sleeper")
    one, two = queue.add("wait", {}, ["a"]), queue.add("wait", {}, ["b"])
    begun(place, "a")
    before = alone(queue)
    os.kill(before, signal.SIGKILL)
    process = read(queue, one, "process.json")
    assert processes.born(process["pid"]) == process["born"]
    again = Queue(place / "queue", "sleeper")  # as a server that starts anew has it
    until(lambda: not processes.born(before))
    again.wake()
    assert alone(queue) != before
    assert read(queue, one, "process.json")["pid"] == process["pid"]
    assert state(again, two) == "queued"
    (place / "a").touch()
    begun(place, "b")
    (place / "b").touch()
    assert [(run.state, run.code) for run in ended(again, one, two)] == [("done", 0)] * 2


def test_a_run_outlives_the_server_that_asked_for_it(place):
    code = (
        "import sys, time; from pathlib import Path; from fallow.studio.queue import Queue\n"
        "queue = Queue(Path(sys.argv[1]), 'sleeper')\n"
        "queue.add('wait', {}, ['a']); queue.add('wait', {}, ['b'])\n"
        "time.sleep(600)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(place / "queue")], start_new_session=True
    )
    begun(place, "a")
    os.killpg(server.pid, signal.SIGKILL)  # as a terminal that is closed does, only harder
    server.wait()
    (place / "a").touch()
    begun(place, "b")  # the queue goes on without anybody looking
    queue = Queue(place / "queue", "sleeper")
    assert [run.state for run in queue.look()] == ["done", "running"]
    (place / "b").touch()
    assert [run.state for run in ended(queue, *queue.runs())] == ["done", "done"]


def test_a_run_that_ended_while_no_worker_was_there_is_known_by_its_end(place, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda self: None)
    queue = Queue(place / "queue", "sleeper")
    run, lost = queue.add("wait", {}, ["a"]), queue.add("wait", {}, ["b"])
    for one, code in ((run, 0), (lost, None)):
        queue.update(one.id, state="running", began=1.0)
        # a living process has this number, and another birth: it is not the run
        (queue.files(one) / "process.json").write_text(
            json.dumps({"pid": os.getpid(), "born": "earlier"})
        )
        if code is not None:
            (queue.files(one) / "ended.json").write_text(json.dumps({"code": code}))
    worker.work(queue)
    assert [state(queue, one) for one in (run, lost)] == ["done", "failed"]
    assert queue.run(lost.id).sentence.startswith("it was ended from outside")


def test_a_process_of_another_birth_is_never_ended():
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    processes.end(other.pid, "earlier", at_once=True)
    processes.end(other.pid, "", at_once=True)
    assert processes.born(other.pid) != ""
    processes.end(other.pid, processes.born(other.pid))
    assert other.wait() == -signal.SIGTERM
    assert processes.born(other.pid) == ""


def test_two_servers_share_one_worker(place):
    one, two = Queue(place / "queue", "sleeper"), Queue(place / "queue", "sleeper")
    first, second = one.add("wait", {}, ["a"]), two.add("wait", {}, ["b"])
    begun(place, "a")
    two.wake()
    alone(one)
    assert not (place / "b.on").exists()
    (place / "a").touch()
    (place / "b").touch()
    assert [run.state for run in ended(one, first, second)] == ["done", "done"]
    until(lambda: not worker_of(one), "the worker goes home")
    with locked(place / "queue" / "worker.lock", wait=False) as free:
        assert free


def test_queues_of_two_collections_share_the_machine(place):
    one, two = Queue(place / "queue", "sleeper"), Queue(place / "other", "sleeper")
    first = one.add("wait", {}, ["a"])
    begun(place, "a")
    second = two.add("wait", {}, ["b"])
    until(lambda: read(two, second, "process.json"))
    assert "turn" not in read(two, second, "process.json")
    assert not (place / "b.on").exists()
    (place / "a").touch()
    begun(place, "b")
    (place / "b").touch()
    assert [run.state for run in (*ended(one, first), *ended(two, second))] == ["done", "done"]


def test_what_cannot_be_is_said_in_one_sentence(place, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda self: None)
    queue = Queue(place / "queue", "sleeper")
    run = queue.add("wait", {}, ["a"], out="here")
    with pytest.raises(Problem, match="here is written by a run in the queue: choose another out"):
        queue.add("wait", {}, ["a"], out="./here")
    with pytest.raises(Problem, match="in the queue already"):
        queue.resume(run.id)
    queue.update(run.id, state="running")
    with pytest.raises(Problem, match="stop it first"):
        queue.remove(run.id)
    queue.update(run.id, state="failed")
    (place / "here").mkdir()
    queue.remove(run.id)
    assert queue.runs() == []
    assert not queue.files(run).exists()
    assert (place / "here").is_dir()  # what a run wrote is the user's
    with pytest.raises(Problem, match="not in the queue any more"):
        queue.stop(run.id)


def test_a_queued_run_that_is_stopped_never_begins(place, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda self: None)
    queue = Queue(place / "queue", "sleeper")
    run = queue.add("quick", {}, ["a"])
    queue.stop(run.id)
    assert worker.start(queue, run) is None
    worker.work(queue)
    assert (state(queue, run), queue.run(run.id).began) == ("stopped", None)


def test_a_folder_that_is_gone_is_a_sentence(place, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda self: None)
    queue = Queue(place / "queue", "sleeper")
    run = queue.add("quick", {}, ["a"])
    queue.update(run.id, cwd=str(place / "gone"))
    worker.work(queue)
    assert queue.run(run.id).sentence.startswith("cannot start in")
