from pathlib import Path
from ops.tasks import namespace
ns = namespace(root=Path(__file__).parent)
