# SPDX-License-Identifier: Apache-2.0
"""Look for what would spoil training: findings with their reasons, nothing repaired.

``dataset`` asks all the others: ``arrangement`` compares the landmarks' geometry over cases, ``surroundings``
what they lie on; ``findings`` is what they say, ``page`` shows it with pictures.
"""
