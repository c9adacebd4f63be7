"""Whether the shards on disk are still what the catalog recorded."""

from pathlib import Path

from simhand_cli.health.checks import Check
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.catalog import Catalog
from simhand_cli.workspace.paths import Workspace


def check_shards(root: Path) -> Check:
    """Read every shard of a workspace and compare its sha256 with the catalog's."""
    workspace = Workspace.open(root)
    count, bad = 0, []
    with Catalog(workspace.catalog_path) as catalog:
        for stage, shard in (("detect", workspace.crops_shard), ("keypoints", workspace.keypoints_shard)):
            for record in catalog.stage(stage).values():
                if record.status == "done":
                    path = shard(record.video_id)
                    count += 1
                    if not path.is_file() or sha256_file(path) != record.sha256:
                        bad.append(path)
    if not bad:
        return Check("shards", True, f"{count} as recorded")
    shown = ", ".join(str(path) for path in bad[:3])
    return Check("shards", False, f"{len(bad)} of {count} changed or missing: {shown}", "delete them and run the stage")
