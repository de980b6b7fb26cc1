"""How explore and discover judge: every constant is chosen on all sets but one, and tried there."""
