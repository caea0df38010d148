"""Shell: the catalogue on a store: the view and its feed, writes, sessions and subscribers."""

from tianlu_registry.governance.config import GovernanceConfig
from tianlu_registry.governance.service import Governance

__all__ = ["Governance", "GovernanceConfig"]
