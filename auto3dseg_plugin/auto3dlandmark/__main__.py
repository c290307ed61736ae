# SPDX-License-Identifier: Apache-2.0
"""``python -m auto3dlandmark``: the same as the ``auto3dlandmark`` command."""

from .cli import main

if __name__ == "__main__":
    main()
