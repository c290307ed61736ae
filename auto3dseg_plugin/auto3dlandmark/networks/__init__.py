# SPDX-License-Identifier: Apache-2.0
"""Networks, as configuration: each preset becomes a ``_target_`` of dynamic-network-architectures."""
