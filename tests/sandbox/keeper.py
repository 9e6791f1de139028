"""A harness of its own: opens a sandbox as some user on a machine that lacks something, and runs what it is given.

`python keeper.py USER TIER LACKING...`: a user id, a tier or `any`, and names of system calls that the kernel is to
refuse. One JSON line in, one out.
"""

import json
import os
import struct
import sys
from pathlib import Path

NUMBERS = {
    "x86_64": {"unshare": 272, "landlock_create_ruleset": 444, "seccomp": 317},
    "aarch64": {"unshare": 97, "landlock_create_ruleset": 444, "seccomp": 277},
}


def show_python():
    """Where Python lies in root's home, let everybody see that part of it, and nobody the rest."""
    from harness.sandbox.inside import linux

    prefix = Path(sys.base_prefix)
    closed = [folder for folder in reversed(prefix.parents) if not folder.stat().st_mode & 0o001]
    if not closed:
        return
    linux.unshare(0x00020000)
    linux.make_mounts_private()
    tree = linux.call("open_tree", 428, -100, bytes(prefix), 1 | 0x8000)
    linux.mount_tmpfs(str(closed[0]), "mode=755")
    prefix.mkdir(parents=True)
    linux.call("move_mount", 429, tree, b"", -100, bytes(prefix), 4)
    os.close(tree)


def lack(names):
    """Have the kernel answer these calls as one does that has never heard of them."""
    import ctypes

    from harness.sandbox.inside import linux
    from harness.sandbox.inside.seccomp import Instruction

    numbers = NUMBERS[os.uname().machine]
    program = [Instruction(0x20, 0, 0, 0)]
    for name in names:
        program += [Instruction(0x15, 0, 1, numbers[name]), Instruction(0x06, 0, 0, 0x00050000 | 38)]
    program.append(Instruction(0x06, 0, 0, 0x7FFF0000))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    linux.prctl("no_new_privs", linux.NO_NEW_PRIVS, 1)
    linux.call("seccomp", numbers["seccomp"], 1, 0, struct.pack("@HP", len(program), ctypes.addressof(buffer)))


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main():
    user, tier, *lacking = sys.argv[1:]
    from harness.api import Execute
    from harness.errors import Failure, UserError
    from harness.sandbox.inside import linux
    from harness.sandbox.sandbox import Sandbox, open_sandbox
    from harness.sandbox.selftest import fault
    from harness.sandbox.tiers import TIERS, UNSAFE

    def opened():
        if tier in ("any", "any, or unsafe"):
            return open_sandbox(allow_unsafe=tier != "any")
        wanted = next(one for one in (*TIERS, UNSAFE) if one.name == tier)
        wanted.prepare()
        sandbox = Sandbox(wanted)
        if not wanted.direct and (found := fault(sandbox.run)):
            raise Failure(f"{tier} does not work here: {found}")
        return sandbox

    if os.geteuid() == 0:
        show_python()
    if int(user) != os.geteuid():
        os.setgroups([])
        os.setresgid(*(int(user),) * 3)
        os.setresuid(*(int(user),) * 3)
    linux.prctl("child subreaper", 36, 1)
    if lacking:
        lack(lacking)
    try:
        sandbox = opened()
    except (Failure, UserError) as error:
        say({"refused": str(error)})
        return
    say({"tier": sandbox.name})
    for line in sys.stdin:
        ended = sandbox.run(Execute(**json.loads(line)))
        say({"outcome": ended.outcome, "detail": ended.detail})


main()
