"""What stands behind the commands in ``scripts/``.

Modules that run before the virtual environment exists (``__main__``, ``console``, ``paths``, ``setup``,
``run.options``) import the standard library only.
"""
