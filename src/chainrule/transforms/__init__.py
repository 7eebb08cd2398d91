"""Program -> Program: backprop, forward, batch, simplify, partition."""
