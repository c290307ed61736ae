# SPDX-License-Identifier: Apache-2.0
"""What the landmarks of a case say about each other.

``model`` is their usual shape, ``posterior`` the points of a case given what a network found (``peaks``),
``hypotheses`` are names that may have been exchanged; ``absence``, ``radius`` and ``calibration`` learn from
held-out cases, and ``estimator`` puts all of it together.

Arrays in, arrays out: nothing here knows images, files of landmarks or networks.
"""
