"""How videos are decoded."""

from vidlm.core import old_imports

# A module had this name before.
__getattr__ = old_imports.attributes(__name__)
