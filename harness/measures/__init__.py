"""Ways of measuring: each turns launched instances into samples, and none judges."""
