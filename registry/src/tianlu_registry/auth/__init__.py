"""Users, roles and what they permit: etcd's authentication as a part of the replicated state."""

from tianlu_registry.auth.check import Checker, Claim
from tianlu_registry.auth.commands import AuthCommand
from tianlu_registry.auth.store import ROOT, AuthStore

__all__ = ["ROOT", "AuthCommand", "AuthStore", "Checker", "Claim"]
