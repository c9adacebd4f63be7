"""The area under a PCK curve from the package's per-sample parts, as one number."""

from simhand_cli.metrics.joint_errors import joint_areas, joint_means, mean_over_joints


def auc(errors, valid, thresholds) -> float:
    """Area in [0, 1], mean over joints."""
    return mean_over_joints(joint_means(joint_areas(errors, thresholds), valid))
