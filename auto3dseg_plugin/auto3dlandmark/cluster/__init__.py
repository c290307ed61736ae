# SPDX-License-Identifier: Apache-2.0
"""Work on many machines, by Ray: the same steps as on one."""
