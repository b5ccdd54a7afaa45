"""The steps before and after the model in plain NumPy and SciPy, float64: the tests' truth.

Dense matrices, whole-volume arrays; nothing here is fast.
"""
