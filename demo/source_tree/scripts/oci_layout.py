"""oci_layout.py DIRECTORY ARCHITECTURE LAYOUT: an image of one layer, the directory as /opt/app.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

directory, architecture, layout = sys.argv[1], sys.argv[2], Path(sys.argv[3])
TYPE = "application/vnd.oci.image"


def write(content: bytes, kind: str) -> dict[str, str | int]:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": f"{TYPE}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
    return member


(layout / "blobs" / "sha256").mkdir(parents=True)
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as tar:
    tar.add(directory, "opt/app", filter=plain)
layer = write(packed.getvalue(), "layer.v1.tar")
config = {
    "architecture": architecture,
    "os": "linux",
    "config": {
        "Entrypoint": ["/opt/app/server.py"],
        "WorkingDir": "/opt/app",
        "ExposedPorts": {"3000/tcp": {}},
    },
    "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
}
configured = write(json.dumps(config).encode(), "config.v1+json")
manifest = {"schemaVersion": 2, "mediaType": f"{TYPE}.manifest.v1+json"}
manifest |= {"config": configured, "layers": [layer]}
described = write(json.dumps(manifest).encode(), "manifest.v1+json")
platform = {"os": "linux", "architecture": architecture}
index = {"schemaVersion": 2, "manifests": [described | {"platform": platform}]}
(layout / "index.json").write_text(json.dumps(index))
(layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
