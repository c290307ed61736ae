# SPDX-License-Identifier: Apache-2.0
"""Images on disk of which a part can be read alone.

Arrays in, arrays out: what is done to an image before it is kept is decided in the rooms above.
"""
