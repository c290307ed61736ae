# SPDX-License-Identifier: Apache-2.0
"""What stock Auto3DSeg drives: ``algo`` is the algorithm, ``ensemble`` fuses several trained ones."""
