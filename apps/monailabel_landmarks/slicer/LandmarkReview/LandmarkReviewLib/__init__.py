# SPDX-License-Identifier: Apache-2.0
"""The module's logic, without Slicer and with Python's own library alone, so that it can be tested
anywhere."""
