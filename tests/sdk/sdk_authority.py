"""A certificate authority for the SDK's tests, with files of what it signs."""

from __future__ import annotations

from pathlib import Path

import trustme


class Authority:
    """A CA. `issue` may be called again under a name: the files are replaced, as by a renewal."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._ca = trustme.CA()
        self.directory = directory
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *hosts: str, common_name: str = "") -> tuple[Path, Path]:
        """Return the paths of a new certificate and its key."""
        issued = self._ca.issue_cert(*hosts, common_name=common_name or None)
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        for path, content in (
            (certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems)),
            (key, issued.private_key_pem.bytes()),
        ):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            fresh.replace(path)
        return certificate, key
