"""Questions of method on the drawn dataset `study`: recipes, each left without one change, over several seeds."""
