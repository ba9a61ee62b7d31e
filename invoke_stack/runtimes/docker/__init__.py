"""Code shared by the runtimes on Docker Engine: client, logs, commands in containers, images."""
