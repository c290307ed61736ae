# SPDX-License-Identifier: Apache-2.0
"""Names of 0.1 that bundles, work folders and configs hold: each file leads ``auto3dlandmark.NAME`` to its
room.

The package looks for its modules here too, after its own folder. They stay until version 1.0; nothing of ours
uses them.
"""
