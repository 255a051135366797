"""An account between decisions: its lines and deadlines, what-if, and what a client can do."""
