# SPDX-License-Identifier: Apache-2.0
"""From a dataset to a plan: every number a training needs, decided before it starts.

``fingerprint`` is what the data looks like; ``planner`` turns it into a ``plan`` by ``nnunet_rules`` and the
``presets`` of networks; ``patch_fit`` asks anyone's network what it takes; ``recipes`` say how to learn. See
docs/planning.md.
"""
