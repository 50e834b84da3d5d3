"""The runtime type checker of the test suite: beartype, with an int allowed where a float is expected."""

from beartype import BeartypeConf, beartype

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))
