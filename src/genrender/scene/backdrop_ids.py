"""The object ids of a backdrop: plain numbers, for those who see G-buffers and no scene."""

# The same in every scene, so that whoever sees a G-buffer, or a file of one, knows what is ground and what is
# sky. They are the largest that texel ids have room for.
GROUND_ID = 16382
DOME_ID = 16383
# Names that no object of a file has: objects may be called ground, too.
BACKDROP_NAMES = {GROUND_ID: "\0ground", DOME_ID: "\0dome"}
