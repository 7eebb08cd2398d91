"""User function -> Program: stand-in arrays, twins of the names that NumPy's protocols do not reach, guards, names."""
