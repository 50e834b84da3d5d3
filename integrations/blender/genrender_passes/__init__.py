"""What the second Blender does, which works on a copy of the file: passes for the engine."""
