# SPDX-License-Identifier: Apache-2.0
"""The work folder: every step from a dataset to an evaluated bundle, each done once.

``record`` remembers what was made from what, ``work_folder`` has the steps, ``publish`` and ``ablation``
build on them.
"""
