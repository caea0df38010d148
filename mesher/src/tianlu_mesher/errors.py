"""Errors of the mesher, grouped by what to do.

MesherError
├── BuildIncomplete   the package was built without Envoy's descriptors: build it again
├── InvalidOption     a flag or a value handed in by the operator is wrong: mend it
├── InconsistentPlan  our own resources contradict one another: a bug; nothing was published
└── EnvoyFailed       the Envoy process cannot be started or does not answer
"""


class MesherError(Exception):
    """Root of the tree."""


class BuildIncomplete(MesherError):
    """An artifact that the build hook writes is missing or damaged."""


class InvalidOption(MesherError):
    """An option cannot be used.

    Args:
        option: the option as the operator writes it, such as ``--listen``.
        problem: what is wrong and what would be right.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option


class InconsistentPlan(MesherError):
    """Resources refer to what is not there. Holds every fault that was found."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class EnvoyFailed(MesherError):
    """Envoy did not start, ended, or does not answer on its administration socket."""
