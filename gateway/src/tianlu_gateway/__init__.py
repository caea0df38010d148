"""Tianlu's gateway: the mesher's stages in the edge role, and the control plane behind one port."""
