"""The commands that twistd lists.  Every twistd user on the machine imports this: keep it light."""

from twisted.application.service import ServiceMaker

hagoop_server = ServiceMaker(
    "HaGoop server",
    "hagoop.server_tap",
    "Keep requests and lease their work to workers.",
    "hagoop-server",
)

hagoop_worker = ServiceMaker(
    "HaGoop worker",
    "hagoop.worker_tap",
    "Run the programs of requests for a server.",
    "hagoop-worker",
)
