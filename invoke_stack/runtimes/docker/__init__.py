"""What the runtimes on Docker Engine share: the client, logs, commands in containers, images."""
