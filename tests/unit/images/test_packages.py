from harness.images.packages import mirror_lines


def test_the_hosts_own_debian_mirror_is_used_for_the_recipes_suite() -> None:
    targets = (
        "Node|https://deb.nodesource.com/node_20.x|nodistro|main\n"
        "Debian|http://mirror.lan/debian|trixie|main\n"
        "Debian|http://mirror.lan/debian|trixie|contrib\n"
        "Debian|http://mirror.lan/debian-security|trixie-security|main\n"
    )
    assert mirror_lines(targets, "bookworm") == [
        "deb http://mirror.lan/debian bookworm main",
        "deb http://mirror.lan/debian bookworm-updates main",
        "deb http://mirror.lan/debian-security bookworm-security main",
    ]


def test_other_hosts_get_the_default() -> None:
    assert mirror_lines("Ubuntu|http://archive.ubuntu.com/ubuntu|noble|main\n", "bookworm") == []
    assert mirror_lines("", "bookworm") == []
    assert mirror_lines("Debian|http://mirror.lan/debian|trixie|main\n", "bookworm") == []
