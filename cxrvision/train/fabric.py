"""Lightning Fabric, from its own package or from the whole of Lightning.

The whole of it imports its trainer and, through it, torchmetrics and transformers, which doubles
the time that a command takes to start.
"""

try:
    from lightning_fabric import Fabric
except ImportError:
    from lightning.fabric import Fabric  # type: ignore

__all__ = ["Fabric"]
