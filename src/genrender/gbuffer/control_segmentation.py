"""The control picture of segmentation networks: every object in one colour, the background black.

These networks learned what the 150 classes of ADE20K look like, by their colours. An object that is called
like one of them (`Car`, `tree.001`, `wooden_chair`) has its colour. Others take one of the palette by their
names, so that it is the same in every shot.
"""

import hashlib
from functools import cache

import numpy as np
from jaxtyping import UInt8

from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID
from genrender.scene.names import plain_name

# ADE20K's classes, the most frequent first, with the colours of its usual palette. Source: the dataset (Zhou
# et al. 2017) as segmentation libraries visualise it, which the training pictures of these networks show.
_CLASSES = """
wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850, road 8c8c8c,
bed cc05ff, windowpane e6e6e6, grass 04fa07, cabinet e005ff, sidewalk ebff07, person 96053d,
earth 787846, door 08ff33, table ff0652, mountain 8fff8c, plant ccff04, curtain ff3307, chair cc4603,
car 0066c8, water 3de6fa, painting ff0633, sofa 0b66ff, shelf ff0747, house ff09e0, sea 0907e6,
mirror dcdcdc, rug ff095c, field 7009ff, armchair 08ffd6, seat 07ffe0, fence ffb806, desk 0aff47,
rock ff290a, wardrobe 07ffff, lamp e0ff08, bathtub 6608ff, railing ff3d06, cushion ffc207, base ff7a08,
box 00ff14, column ff0829, signboard ff0599, chest_of_drawers 0633ff, counter eb0cff, sand a09614,
sink 00a3ff, skyscraper 8c8c8c, fireplace fa0a0f, refrigerator 14ff00, grandstand 1fff00, path ff1f00,
stairs ffe000, runway 99ff00, case 0000ff, pool_table ff4700, pillow 00ebff, screen_door 00adff,
stairway 1f00ff, river 0bc8c8, bridge ff5200, bookcase 00fff5, blind 003dff, coffee_table 00ff70,
toilet 00ff85, flower ff0000, book ffa300, hill ff6600, bench c2ff00, countertop 008fff, stove 33ff00,
palm 0052ff, kitchen_island 00ff29, computer 00ffad, swivel_chair 0a00ff, boat adff00, bar 00ff99,
arcade_machine ff5c00, hovel ff00ff, bus ff00f5, towel ff0066, light ffad00, truck ff0014, tower ffb8b8,
chandelier 001fff, awning 00ff3d, streetlight 0047ff, booth ff00cc, television_receiver 00ffc2,
airplane 00ff52, dirt_track 000aff, apparel 0070ff, pole 3300ff, land 00c2ff, bannister 007aff,
escalator 00ffa3, ottoman ff9900, bottle 00ff0a, buffet ff7000, poster 8fff00, stage 5200ff, van a3ff00,
ship ffeb00, fountain 08b8aa, conveyer_belt 8500ff, canopy 00ff5c, washer b800ff, plaything ff001f,
swimming_pool 00b8ff, stool 00d6ff, barrel ff0070, basket 5cff00, waterfall 00e0ff, tent 70e0ff,
bag 46b8a0, minibike a300ff, cradle 9900ff, oven 47ff00, ball ff00a3, food ffcc00, step ff008f,
tank 00ffeb, trade_name 85ff00, microwave ff00eb, pot f500ff, animal ff007a, bicycle fff500, lake 0abed4,
dishwasher d6ff00, screen 00ccff, blanket 1400ff, sculpture ffff00, hood 0099ff, sconce 0029ff,
vase 00ffcc, traffic_light 2900ff, tray 29ff00, ashcan ad00ff, fan 00f5ff, pier 4700ff,
crt_screen 7a00ff, plate 00ffb8, monitor 005cff, bulletin_board b8ff00, shower 0085ff, radiator ffd600,
glass 19c2c2, clock 66ff00, flag 5c00ff
"""
# The first classes are what things stand in (wall, sky, floor ...); things take the colours behind them.
_N_SURROUNDINGS = 22


@cache
def class_colours() -> dict[str, tuple[int, int, int]]:
    """RGB of ADE20K's classes by name, words joined by underscores."""
    entries = (entry.split() for entry in _CLASSES.replace("\n", " ").split(",") if entry.strip())
    return {name: (int(hex_[:2], 16), int(hex_[2:4], 16), int(hex_[4:], 16)) for name, hex_ in entries}


@cache
def colour_of(name: str) -> tuple[int, int, int]:
    """The RGB colour of an object of a name.

    Example:
        >>> colour_of("Old car.001") == class_colours()["car"]
        True
    """
    plain, colours = plain_name(name), class_colours()
    if plain in colours:
        return colours[plain]
    for word in reversed(plain.split("_")):
        if word in colours:
            return colours[word]
    free = list(colours.values())[_N_SURROUNDINGS:]
    digest = hashlib.blake2b(plain.encode(), digest_size=8).digest()
    return free[int.from_bytes(digest, "little") % len(free)]


def segmentation_control(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W 3"]:
    """One frame's control picture. A ground has the colour of earth, a dome that of sky.

    Two objects may have one colour: 128 serve those that are called like no class. Objects without a name go
    by their numbers.
    """
    ids, index = np.unique(gbuffer.object_id, return_inverse=True)
    names = gbuffer.object_names or {}
    backdrop = {0: (0, 0, 0), GROUND_ID: class_colours()["earth"], DOME_ID: class_colours()["sky"]}
    colours = [backdrop.get(i) or colour_of(names.get(i, f"object {i}")) for i in ids.tolist()]
    return np.array(colours, np.uint8)[index.reshape(gbuffer.object_id.shape)]
