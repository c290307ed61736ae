# SPDX-License-Identifier: Apache-2.0
"""What MONAI Label asks an app for: a datastore, inference, training, strategies, and a server around
them."""
