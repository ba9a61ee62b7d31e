from pathlib import Path
from invoke_stack import namespace
ns = namespace(root=Path(__file__).parent)
