"""Sets of synthetic hands on disk: labelled pictures, videos, layouts of FreiHAND and HanCo."""
