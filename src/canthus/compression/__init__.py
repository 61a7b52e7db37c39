"""Smaller networks: pruning of filters by what the next feature map loses."""
