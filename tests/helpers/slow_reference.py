"""Plain float64 loops: how the figures are defined, one joint at a time. The oracle of the vectorised code."""

import math

import numpy as np
import scipy.linalg


def bone_scaled(pred, gt):
    """Wrist-aligned, wrist to middle MCP scaled (one sample)."""
    s = math.dist(gt[9], gt[0]) / math.dist(pred[9], pred[0])
    return np.array([[gt[0][k] + s * (pred[j][k] - pred[0][k]) for k in range(3)] for j in range(21)])


def freihand_align(pred, gt, eps=0.0):
    """FreiHAND's scorer: unit Frobenius norms, scipy's orthogonal Procrustes (reflections allowed), scale back."""
    t1, t2 = gt.mean(0), pred.mean(0)
    g, p = gt - t1, pred - t2
    s1, s2 = np.linalg.norm(g) + eps, np.linalg.norm(p) + eps
    rotation, s = scipy.linalg.orthogonal_procrustes(g / s1, p / s2)
    return (p / s2) @ rotation.T * s * s1 + t1


def rigid_by_kabsch(pred, gt):
    """Rotation and translation only, by scipy's own solver of Wahba's problem (never a reflection)."""
    from scipy.spatial.transform import Rotation

    rotation, _ = Rotation.align_vectors(gt - gt.mean(0), pred - pred.mean(0))
    return rotation.apply(pred - pred.mean(0)) + gt.mean(0)


def mpjpe(pred, gt, valid):
    per_joint = []
    for j in range(pred.shape[1]):
        distances = [math.dist(pred[i, j], gt[i, j]) for i in range(len(pred)) if valid[i, j]]
        if distances:
            per_joint.append(sum(distances) / len(distances))
    return sum(per_joint) / len(per_joint)


def auc(pred, gt, valid, thresholds):
    """Per joint: PCK at each threshold with <=, trapezoids, divided by the span; mean over joints."""
    areas = []
    for j in range(pred.shape[1]):
        distances = [math.dist(pred[i, j], gt[i, j]) for i in range(len(pred)) if valid[i, j]]
        if not distances:
            continue
        pck = [sum(d <= t for d in distances) / len(distances) for t in thresholds]
        area = sum((pck[k] + pck[k + 1]) / 2 * (thresholds[k + 1] - thresholds[k]) for k in range(len(pck) - 1))
        areas.append(area / (thresholds[-1] - thresholds[0]))
    return sum(areas) / len(areas)
