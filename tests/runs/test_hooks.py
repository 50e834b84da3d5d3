"""What a run's listeners hear."""

import logging
import threading

from genrender.runs.hooks import RunHooks, logged_warnings


def test_warnings_of_this_package_reach_the_hooks_of_their_own_thread_while_it_lasts():
    told: list[str] = []
    logger = logging.getLogger("genrender.backbones.loading")
    with logged_warnings(RunHooks(warn=told.append)):
        logger.warning("one of %d", 2)
        logger.info("nothing")
        logging.getLogger("diffusers").warning("another's")
        other = threading.Thread(target=logger.warning, args=("of another run",))
        other.start()
        other.join()
    logger.warning("afterwards")
    assert told == ["one of 2"]
