"""The agent and the host's end of its channel, as two real processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness import inside
from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.signalling import signalling_overhead
from harness.runtimes.base import Command

AGENT = Path(inside.__file__).parent / "agent.py"
SIGNALLED = b'{"event":"tell","id":1}\n'


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    channel = Channel(tmp_path)
    with subprocess.Popen([sys.executable, str(AGENT), str(channel.path)]) as agent:
        channel.wait_ready(Deadline.after(20), lambda: None if agent.poll() is None else f"exit {agent.returncode}")
        yield channel
        channel.close()
        assert agent.wait(timeout=20) == 0


def relayed(source: int, line: socket.socket, size: int) -> None:
    """Pass bytes on one by one, as an emulated serial port does."""
    for _ in range(size):
        line.sendall(os.read(source, 1))


def test_where_the_instance_listens_the_host_dials(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as main, socket.socket(socket.AF_UNIX) as moments:
        channel = Channel(tmp_path, dials=True)
        channel.watch("moments")
        with pytest.raises(TareError, match="cannot be reached"):
            channel.dial(Deadline.after(5))
        for server, name in ((main, "channel"), (moments, "moments")):
            server.bind(str(tmp_path / name))
            server.listen(1)
        channel.dial(Deadline.after(5))
        (early, _), (late, _) = moments.accept(), main.accept()
        with early, late:
            early.sendall(b"userspace 1.5\n")
            late.sendall(b'{"event": "hello"}\n')
            channel.wait_ready(Deadline.after(5), lambda: None)
        assert channel.stamps["userspace"][1] == "userspace 1.5"
        channel.close()
    assert list(tmp_path.iterdir()) == []


def sh(script: str) -> Command:
    return Command(argv=("sh", "-c", script))


def test_a_job_is_bracketed_by_both_clocks_and_counted(channel: Channel) -> None:
    before = time.monotonic()
    output = channel.start(sh("echo out; echo err >&2; sleep 0.2; exit 3"), Deadline.after(20)).wait(Deadline.after(20))
    assert (output.stdout, output.stderr, output.status) == ("out\n", "err\n", 3)
    assert before <= output.begin <= output.end <= time.monotonic()
    assert 0.2 <= output.inner_end - output.inner_begin <= output.end - output.begin + 0.05
    assert output.minor_faults > 0 and output.voluntary_switches > 0


def test_cpu_time_is_of_the_whole_tree(channel: Channel) -> None:
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.3: pass'"
    output = channel.start(sh(f"({burn})"), Deadline.after(30)).wait(Deadline.after(30))
    assert output.user + output.system >= 0.3


def test_a_program_that_is_not_there_is_said(channel: Channel) -> None:
    job = channel.start(Command(argv=("/nowhere/at-all",)), Deadline.after(20))
    with pytest.raises(TareError, match="refused a request") as caught:
        job.wait(Deadline.after(20))
    assert "/nowhere/at-all" in caught.value.details


def test_a_late_job_is_killed_with_what_it_started(channel: Channel) -> None:
    job = channel.start(sh("echo $$; sleep 1000"), Deadline.after(20))
    with pytest.raises(DeadlineExceeded):
        job.wait(Deadline.after(0.5))
    output = channel.start(sh("echo still here"), Deadline.after(20)).wait(Deadline.after(20))
    assert output.stdout == "still here\n"


def test_a_channel_closed_before_a_frame_is_sent_ends_the_agent_in_order(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    with subprocess.Popen([sys.executable, str(AGENT), str(channel.path)]) as agent:
        try:
            channel.wait_ready(Deadline.after(20), lambda: None)
            channel.start(sh("echo begun; sleep 1000"), Deadline.after(20))
            until = time.monotonic() + 20
            # The start frame is sent before the job exists.
            while not (jobs := psutil.Process(agent.pid).children()) and time.monotonic() < until:
                time.sleep(0.01)
            agent.send_signal(signal.SIGSTOP)
            jobs[0].kill()
            channel.close()
            agent.send_signal(signal.SIGCONT)
            assert agent.wait(timeout=20) == 0
        finally:
            agent.kill()


def test_a_server_counts_as_begun_once_its_port_is_open(channel: Channel) -> None:
    serve = (
        "import socket,time; time.sleep(0.3); s=socket.create_server(('127.0.0.1',45871)); "
        "c,_=s.accept(); c.sendall(b'x'); time.sleep(100)"
    )
    job = channel.start(Command(argv=(sys.executable, "-c", serve), listen=45871), Deadline.after(20))
    fetch = "import socket; print(socket.create_connection(('127.0.0.1',45871)).recv(1))"
    client = channel.start(Command(argv=(sys.executable, "-c", fetch)), Deadline.after(20))
    assert client.wait(Deadline.after(20)).stdout == "b'x'\n"
    assert job.stop(Deadline.after(20)).status == -9


def test_output_past_the_cap_is_dropped_and_the_job_still_ends(channel: Channel) -> None:
    output = channel.start(sh("head -c 20000000 /dev/zero | tr '\\0' x"), Deadline.after(60)).wait(Deadline.after(60))
    assert output.status == 0
    assert len(output.stdout) == 8 * 2**20


def test_orphans_end_with_the_agent(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    with subprocess.Popen([sys.executable, str(AGENT), str(channel.path)]) as agent:
        channel.wait_ready(Deadline.after(20), lambda: None)
        output = channel.start(sh("setsid sleep 1000 & echo $!"), Deadline.after(20)).wait(Deadline.after(20))
        orphan = psutil.Process(int(output.stdout))
        assert orphan.is_running()
        channel.close()
        agent.wait(timeout=20)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_facts_are_texts_about_the_place(channel: Channel) -> None:
    facts = channel.facts(Deadline.after(20))
    assert facts["kernel"] == os.uname().release
    assert int(facts["memory_mib"]) > 0


def test_an_instance_that_dies_first_is_an_error_with_its_reason(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    with pytest.raises(TareError) as caught:
        channel.wait_ready(Deadline.after(20), lambda: "it fell over")
    assert caught.value.details == "it fell over"
    channel.close()
    assert not channel.path.exists()


def test_watched_lines_are_known_by_their_first_words_and_later_ones_are_waited_for(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    moments = channel.watch("moments")
    talk = (
        "import socket,sys,time; s=[socket.socket(socket.AF_UNIX) for _ in range(2)]; "
        "[a.connect(b) for a,b in zip(s,sys.argv[1:])]; "
        "s[1].sendall(b'\\x1b[Hnoise\\r\\nloader\\r\\nuserspace 1.5\\n'); time.sleep(0.2); "
        "s[0].sendall(b'ready 2.0\\n'); time.sleep(0.2); s[1].sendall(b'service 3\\nloader\\n'); time.sleep(5)"
    )
    with subprocess.Popen([sys.executable, "-c", talk, str(channel.path), str(moments)]) as guest:
        ready = channel.wait_ready(Deadline.after(20), lambda: None)
        assert channel.stamps["userspace"][1] == "userspace 1.5" and "service" not in channel.stamps
        channel.wait_stamp("service", Deadline.after(20), lambda: None)
        assert channel.stamps["loader"][0] < ready < channel.stamps["service"][0]
        with pytest.raises(DeadlineExceeded, match="never"):
            channel.wait_stamp("never", Deadline.after(0.1), lambda: None)
        guest.kill()
    channel.close()


def test_lines_are_told_and_timed_on_both_clocks_and_jobs_go_on_after_them(channel: Channel) -> None:
    told = channel.signal(5, Deadline.after(20), pause=0.01)
    assert len(told.stamps) == len(told.begins) == len(told.ends) == 5
    assert all(begin <= end for begin, end in zip(told.begins, told.ends, strict=True))
    assert all(begin <= stamp for begin, stamp in zip(told.begins, told.stamps, strict=True)), (
        "here both clocks are one"
    )
    cost = signalling_overhead(channel, Deadline.after(20))
    assert cost.method == "clock" and 0 < cost.low <= cost.seconds <= cost.high < 10
    assert channel.start(sh("echo on"), Deadline.after(20)).wait(Deadline.after(20)).stdout == "on\n"


def test_lines_over_a_device_are_stamped_where_it_ends(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    moments = channel.watch("moments")
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    with (
        subprocess.Popen([sys.executable, str(AGENT), str(channel.path)]) as agent,
        socket.socket(socket.AF_UNIX) as line,
    ):
        channel.wait_ready(Deadline.after(20), lambda: None)
        line.connect(str(moments))
        relay = threading.Thread(target=relayed, args=(ours, line, 3 * len(SIGNALLED)))
        relay.start()
        told = channel.signal(3, Deadline.after(20), device=os.ttyname(theirs), watched="moments")
        relay.join()
        assert len(told.stamps) == 3 and list(told.stamps) == sorted(told.stamps)
        with pytest.raises(TareError) as caught:
            channel.signal(1, Deadline.after(20), device="/dev/nowhere", watched="moments")
        assert "/dev/nowhere" in caught.value.details
        channel.close()
        assert agent.wait(timeout=20) == 0
    os.close(ours)
    os.close(theirs)


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    talk = (
        "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(b'hello\\nnot json\\n'); time.sleep(5)"
    )
    with subprocess.Popen([sys.executable, "-c", talk, str(channel.path)]) as liar:
        channel.wait_ready(Deadline.after(20), lambda: None)
        with pytest.raises(TareError, match="not a frame"):
            channel.facts(Deadline.after(20))
        liar.kill()
    channel.close()
