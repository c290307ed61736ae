# SPDX-License-Identifier: Apache-2.0
"""How people annotate, as far as their points show it."""
