"""What the second Blender does, which works on a copy of the file: passes for the engine."""

# What has a surface, and so can have materials and texture coordinates.
SURFACES = ("MESH", "CURVE", "SURFACE", "FONT", "META")
