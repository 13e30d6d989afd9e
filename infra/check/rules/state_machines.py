"""State machines, as the emulator's own parser reads them: paths, intrinsic functions, comparisons."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from infra.check.finding import Finding
from infra.check.record import Recording
from policies.reading.states import DEFINITION, MACHINE

UNSUPPORTED = "moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_unsupported"
"""The logger in which moto tells of a service that it could not call itself: no mistake of the definition's."""


def state_machines(recording: Recording) -> Iterator[Finding]:
    from moto.stepfunctions.parser.asl.static_analyser.static_analyser import StaticAnalyser

    logging.getLogger(UNSUPPORTED).setLevel(logging.ERROR)
    for machine in recording.of_type(MACHINE):
        try:
            StaticAnalyser().analyse(machine.inputs[DEFINITION])
        except Exception as error:  # noqa: BLE001  the parser raises what it likes
            said = f"{type(error).__name__}: {error}"
            yield Finding(machine.label, DEFINITION, "a definition that can be parsed", said)
