"""The audit log: who changed what through this node, a line of JSON for each.

`audited` wraps servicers, `touched` says what a call touched, `log` keeps lines on their way to
`files`. Made only if it is asked for: without it calls pass through nothing of this package.
docs/adr/0024-audit-log.md says why it is made so.
"""
