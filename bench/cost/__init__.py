"""What a plan would cost, from measured times alone."""
