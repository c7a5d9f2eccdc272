"""What `hil COMMAND` takes: options and help, a module for each group of commands. `COMMANDS` is the whole list.

Nothing heavy is imported before a command runs: its work stands in the modules `hil.cli_...`, which it imports.
"""

from __future__ import annotations

import click

from hil.commands.benchmarks import eembc
from hil.commands.boards import agent, agent_bundle, discover, emulate
from hil.commands.plans import demo, demo_mcu, flash_command, measure, profile, run_command

__all__ = ["COMMANDS"]

COMMANDS: tuple[click.Command, ...] = (
    emulate,
    agent,
    agent_bundle,
    discover,
    profile,
    flash_command,
    run_command,
    measure,
    eembc,
    demo,
    demo_mcu,
)
