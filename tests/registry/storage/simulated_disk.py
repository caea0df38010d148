"""The simulated disk, which stands in the distribution since `tianlu sim` needs it."""

from tianlu_registry.simulation.disk import (
    SECTOR_BYTES,
    Inode,
    SimulatedCrash,
    SimulatedDisk,
    SimulatedFile,
)

__all__ = ["SECTOR_BYTES", "Inode", "SimulatedCrash", "SimulatedDisk", "SimulatedFile"]
