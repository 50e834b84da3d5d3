"""Everything that a helper is asked to do with scenes and before runs."""

from genrender.server.plan_tasks import check, models, words
from genrender.server.scene_tasks import pick, report, shot, view
from genrender.server.told_tasks import told
from genrender.server.upload_tasks import receive

__all__ = ["check", "models", "pick", "receive", "report", "shot", "told", "view", "words"]
