"""A service's page, its JSON twin, and the two forms."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from tianlu import Instance, Service, ServiceKey, ServiceView
from tianlu_console.access.gate import actor_of
from tianlu_console.audit.log import Subject
from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.errors import ConsoleError, InvalidForm, Missing
from tianlu_console.instances.contexts import (
    InstancesPage,
    IsolatePage,
    RestorePage,
    ServiceFacts,
    service_path,
)
from tianlu_console.instances.overrides import (
    EXPIRY_SECONDS,
    REASON_LENGTH_MAX,
    IsolationForm,
    Overrides,
    reason_problems,
)
from tianlu_console.instances.query import InstanceQuery, select
from tianlu_console.instances.rows import newest, row_of
from tianlu_console.services.listing import summarise
from tianlu_console.text import N_, Text
from tianlu_console.web.listing import PageOf
from tianlu_console.web.negotiation import JSONBody, is_fragment, wants_json
from tianlu_console.web.pages import Pages
from tianlu_console.web.shell import Section

PAGE_SIZE: Final = 100

FormText = Annotated[str, Form(max_length=4096)]

# A successful answer to a form replaces the page's table and closes the dialog that the form was
# in.
FORM_DONE_HEADERS: Final = {
    "hx-retarget": "#instances",
    "hx-reswap": "outerMorph",
    "hx-trigger": "dialog-done",
}


class InstanceEndpoints:
    """`/services/NAMESPACE/SERVICE` and, below it, `/instances/ID/isolate` and
    `/instances/ID/restore`.
    """

    def __init__(
        self, feed: CatalogueFeed, overrides: Overrides, pages: Pages, base_path: str
    ) -> None:
        self._feed = feed
        self._overrides = overrides
        self._pages = pages
        self._base = base_path

    def router(self) -> APIRouter:
        """Return the routes. The JSON twin comes first, or its ending would be taken for a part of
        the name.
        """
        router = APIRouter()
        service = "/services/{namespace}/{service}"
        for path in (f"{service}.json", service):
            router.add_api_route(path, self.show, methods=["GET"])
        router.add_api_route(
            f"{service}/instances/{{instance_id}}/isolate", self.show_isolate, methods=["GET"]
        )
        router.add_api_route(
            f"{service}/instances/{{instance_id}}/isolate", self.isolate, methods=["POST"]
        )
        router.add_api_route(
            f"{service}/instances/{{instance_id}}/restore", self.show_restore, methods=["GET"]
        )
        router.add_api_route(
            f"{service}/instances/{{instance_id}}/restore", self.restore, methods=["POST"]
        )
        return router

    async def show(self, request: Request, namespace: str, service: str) -> Response:
        """Show a service and its instances."""
        key, query = ServiceKey(namespace, service), InstanceQuery.parse(request.query_params)
        page = self.page(key, query, None, open_page=is_fragment(request))
        if wants_json(request):
            return JSONBody(page)
        return self._render(
            request, page, "instances/_list.html" if is_fragment(request) else "instances/list.html"
        )

    async def show_isolate(
        self, request: Request, namespace: str, service: str, instance_id: str
    ) -> Response:
        """Show the form that isolates an instance."""
        subject = self._subject(namespace, service, instance_id)
        return self._isolate_form(request, subject, "", "0", None)

    async def isolate(
        self,
        request: Request,
        namespace: str,
        service: str,
        instance_id: str,
        reason: FormText = "",
        expires_seconds: FormText = "0",
    ) -> Response:
        """Isolate an instance."""
        subject = Subject(namespace, service, instance_id)
        try:
            form = IsolationForm.parse(reason, expires_seconds)
            instance = await self._overrides.isolate(actor_of(request), subject, form)
        except ConsoleError as error:
            if wants_json(request):
                raise
            return self._isolate_form(request, subject, reason, expires_seconds, error)
        return self._done(request, instance)

    async def show_restore(
        self, request: Request, namespace: str, service: str, instance_id: str
    ) -> Response:
        """Show the form that restores an instance."""
        return self._restore_form(request, self._subject(namespace, service, instance_id), "", None)

    async def restore(
        self,
        request: Request,
        namespace: str,
        service: str,
        instance_id: str,
        reason: FormText = "",
    ) -> Response:
        """Restore an instance. A reason is welcome and not needed: putting things right explains
        itself.
        """
        subject = Subject(namespace, service, instance_id)
        try:
            problems = reason_problems(reason, needed=False)
            if problems:
                raise InvalidForm(problems)
            instance = await self._overrides.restore(actor_of(request), subject, reason.strip())
        except ConsoleError as error:
            if wants_json(request):
                raise
            return self._restore_form(request, subject, reason, error)
        return self._done(request, instance)

    def page(
        self,
        key: ServiceKey,
        query: InstanceQuery,
        known: Instance | None,
        *,
        open_page: bool = True,
    ) -> InstancesPage:
        """Return a service's page as of the newest view.

        Args:
            known: an instance that was just written, shown even if the view is older.
            open_page: the page is open already: a service that has left is shown without instances.

        Raises:
            Missing: the catalogue has no such service, and the page is not open.
        """
        view = self._feed.view.services.get(key)
        if view is None and not open_page:
            message = N_("There is no service %(service)s in namespace %(namespace)s.")
            raise Missing(Text(message, {"service": key.name, "namespace": key.namespace}))
        view = view or ServiceView(Service(key.namespace, key.name), ())
        rows = [row_of(instance) for instance in newest(view.instances, known)]
        return InstancesPage(
            source=self._feed.source(),
            service=ServiceFacts.of(view.service),
            counts=summarise(view),
            instances=PageOf.of(select(rows, query), query.page, PAGE_SIZE),
            query=query,
            path=service_path(self._base, key),
        )

    def _render(
        self,
        request: Request,
        page: InstancesPage,
        template: str,
        headers: dict[str, str] | None = None,
    ) -> Response:
        key = ServiceKey(page.service.namespace, page.service.name)
        return self._pages.html(
            request, template, page, section=Section.SERVICES, service=key, headers=headers
        )

    def _done(self, request: Request, instance: Instance) -> Response:
        """Answer a successful form with the new state."""
        key = ServiceKey(instance.namespace, instance.service)
        if wants_json(request):
            return JSONBody(row_of(instance))
        if not is_fragment(request):
            return RedirectResponse(service_path(self._base, key), status_code=303)
        page = self.page(
            key, InstanceQuery.of_address(request.headers.get("hx-current-url", "")), instance
        )
        return self._render(request, page, "instances/_list.html", FORM_DONE_HEADERS)

    def _subject(self, namespace: str, service: str, instance_id: str) -> Subject:
        """Return the subject if the view has it. Raises `Missing`."""
        view = self._feed.view.services.get(ServiceKey(namespace, service))
        if view is None or all(each.id != instance_id for each in view.instances):
            message = N_(
                "Service %(service)s has no instance %(instance)s. It may have left just now."
            )
            raise Missing(Text(message, {"service": service, "instance": instance_id}))
        return Subject(namespace, service, instance_id)

    def _isolate_form(
        self,
        request: Request,
        subject: Subject,
        reason: str,
        expires: str,
        error: ConsoleError | None,
    ) -> Response:
        page = IsolatePage(
            subject=subject,
            path=service_path(self._base, ServiceKey(subject.namespace, subject.service)),
            reason=reason,
            reason_length_max=REASON_LENGTH_MAX,
            expires_seconds=expires,
            expiry_choices=EXPIRY_SECONDS,
            problems=error.fields if isinstance(error, InvalidForm) else {},
            failure=_failure(error),
        )
        return self._form(request, "isolate", page, error)

    def _restore_form(
        self, request: Request, subject: Subject, reason: str, error: ConsoleError | None
    ) -> Response:
        page = RestorePage(
            subject=subject,
            path=service_path(self._base, ServiceKey(subject.namespace, subject.service)),
            reason=reason,
            reason_length_max=REASON_LENGTH_MAX,
            problems=error.fields if isinstance(error, InvalidForm) else {},
            failure=_failure(error),
        )
        return self._form(request, "restore", page, error)

    def _form(
        self,
        request: Request,
        name: str,
        page: IsolatePage | RestorePage,
        error: ConsoleError | None,
    ) -> Response:
        template = f"instances/_{name}.html" if is_fragment(request) else f"instances/{name}.html"
        status = error.status if error else 200
        return self._pages.html(request, template, page, section=Section.SERVICES, status=status)


def _failure(error: ConsoleError | None) -> Text | None:
    """Return what to say above the form; wrong fields are said beside them."""
    return None if error is None or isinstance(error, InvalidForm) else error.message
