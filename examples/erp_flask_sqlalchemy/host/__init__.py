"""A small ERP with a bot, as it was before: nothing in this folder knows of a guard."""
