# SPDX-License-Identifier: Apache-2.0
"""MONAI bundles on disk: ``folder`` owns their form, ``fill`` writes plans into them.

``agreement`` is what the values of a config must have in common, ``nnlandmark_import`` turns trained
nnLandmark models into bundles; ``templates/heatmap`` is what each bundle begins as.
"""
