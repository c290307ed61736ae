# SPDX-License-Identifier: Apache-2.0
"""Where a second network looks: the box around a mean shape, laid into an image.

Arrays in, arrays out, as in ``shapes``, on which it is built.
"""
