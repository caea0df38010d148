"""The stages in order: view -> plan -> resources -> check -> publish."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import MappingProxyType

from tianlu import CatalogView
from tianlu_mesher.agent.admission import refusal
from tianlu_mesher.errors import InconsistentPlan
from tianlu_mesher.resources.assemble import Assembler
from tianlu_mesher.resources.consistency import require_consistent
from tianlu_mesher.resources.snapshot import XdsSnapshot
from tianlu_mesher.routing.ir import RoutingPlan
from tianlu_mesher.routing.plan import NO_ADDRESSES, UNLOADED, Addresses, Planner
from tianlu_mesher.routing.role import Role

logger = logging.getLogger(__name__)


class Pipeline:
    """Turns views into published snapshots, one after the other, each wholly or not at all.

    Args:
        publish: takes a consistent snapshot; must return at once.
        refused: told why a view was not published.
    """

    def __init__(
        self,
        role: Role,
        static_clusters: frozenset[str],
        publish: Callable[[XdsSnapshot], None],
        refused: Callable[[str], None],
    ) -> None:
        self._planner = Planner()
        self._assembler = Assembler(role, static_clusters)
        self._publish = publish
        self._refused = refused
        self._view: CatalogView | None = None
        self._addresses: Addresses = NO_ADDRESSES
        self.plan: RoutingPlan = UNLOADED
        self.problem = ""
        """Why the newest view is not published; "" if it is."""

    def start_unloaded(self) -> None:
        """Publish what can be said without a view, unless there is a view already."""
        if self._view is None:
            self._run(UNLOADED)

    def take_view(self, view: CatalogView) -> None:
        """Publish `view`, or say why not (`problem`) and leave what is published."""
        reason = refusal(view, self._view)
        if reason:
            self._refuse(f"view of revision {view.revision} refused: {reason}")
            return
        self._view = view
        self._run(self._planner.plan(view, self._addresses))

    def take_addresses(self, addresses: Addresses) -> None:
        """Publish anew with what host names resolve to now."""
        self._addresses = MappingProxyType(dict(addresses))
        if self._view is not None:
            self._run(self._planner.plan(self._view, self._addresses))

    def _run(self, plan: RoutingPlan) -> None:
        try:
            snapshot = self._assembler.assemble(plan)
            require_consistent(snapshot)
        except InconsistentPlan as error:
            self._refuse(f"plan of revision {plan.revision} is inconsistent: {error}")
            return
        self._note_changes(plan)
        self.plan = plan
        self.problem = ""
        self._publish(snapshot)

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self._refused(problem)

    def _note_changes(self, plan: RoutingPlan) -> None:
        """Log what is left out of a service, once per change."""
        for key, service in plan.services.items():
            before = self.plan.services.get(key)
            if service.notes and (before is None or before.notes != service.notes):
                for note in service.notes:
                    logger.warning("pipeline.service.incomplete service=%s reason=%r", key, note)
