"""What the system and its control groups leave; files as Linux writes them, below another root."""

import os

import pytest

from glagcn.data.host_memory import available_memory

GB = 1 << 30


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\nHugePages_Total:   0\n"}
V2, V1 = "0::/jobs/42\n", "5:cpu:/other\n4:memory,hugetlb:/jobs/42\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16 * GB),
        ({"proc/self/cgroup": V2}, 16 * GB),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/42/memory.max": "max\n"}, 16 * GB),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/42/memory.max": f"{8 * GB}\n"}, 8 * GB),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/jobs/42/memory.max": f"{80 * GB}\n"}, 16 * GB),
        (
            {
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/jobs/42/memory.max": f"{8 * GB}\n",
                "sys/fs/cgroup/jobs/memory.max": f"{6 * GB}\n",
                "sys/fs/cgroup/jobs/memory.stat": f"anon {2 * GB}\nfile {3 * GB}\n",
            },
            4 * GB,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{3 * GB}\n"}, 3 * GB),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{5 * GB}\n",
                "sys/fs/cgroup/memory/memory.stat": f"cache 7\ntotal_rss {GB}\n",
            },
            4 * GB,
        ),
    ],
)
def test_the_least_of_what_is_left(tmp_path, files, expected):
    write(tmp_path, MEMINFO | files)
    assert available_memory(tmp_path) == expected


def test_without_such_files_it_is_all_there_is(tmp_path):
    assert available_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_on_this_machine_something_is_left():
    assert 0 < available_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
