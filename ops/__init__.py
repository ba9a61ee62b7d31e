import sys

# Invoke forbids it, and then each verb would compile what pip has not compiled. As Python was told:
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
