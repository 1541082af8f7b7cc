"""What makes the parts one program: settings, wiring, lifecycle and the `fitai` command."""
