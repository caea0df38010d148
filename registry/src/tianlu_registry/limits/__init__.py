"""How much one client may ask: pure bookkeeping, told the time and who asks."""

from tianlu_registry.limits.concurrency import Concurrency
from tianlu_registry.limits.rates import Rates

__all__ = ["Concurrency", "Rates"]
