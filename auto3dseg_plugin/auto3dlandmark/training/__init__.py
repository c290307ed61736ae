# SPDX-License-Identifier: Apache-2.0
"""Train a bundle: ``run`` starts it, the others are what its train.json names.

``schedule``, ``averaging``, ``keep_models`` and ``progress`` are handlers of MONAI's trainer; ``distributed``
is for several processes.
"""
