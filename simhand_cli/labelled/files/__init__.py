"""Reading of big label files and pictures: streams of JSON, COCO, caches, images."""
