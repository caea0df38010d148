"""The guard of the control APIs against pages of other sites (cross-site request forgery).

A browser sends a request to any host that a page names, with whatever rights the user's network
gives. Browsers say where a request comes from: `Sec-Fetch-Site` (all since 2023) and `Origin`.
Programs send neither, and pass. Judged for every method, because a WebSocket is a GET.

Source: Fetch Metadata Request Headers (W3C), section 2; OWASP cheat sheet "CSRF prevention".
"""

from __future__ import annotations

from typing import Final

LUA: Final = """
local function same_host(origin, authority)
  return origin:lower():match("^%a[%w+.-]*://([^/]*)$") == authority:lower()
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local site = headers:get("sec-fetch-site")
  local origin = headers:get("origin")
  local authority = headers:get(":authority") or ""
  local foreign = (site ~= nil and site ~= "same-origin" and site ~= "none")
    or (origin ~= nil and not same_host(origin, authority))
  if foreign then
    handle:respond({[":status"] = "403"},
      "pages of other sites may not call this; the Origin must be the host that is asked")
  end
end
"""
