"""How well each method finds the implanted experts, and what switching them off does; measured with the workbench."""
