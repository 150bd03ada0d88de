"""A look at somebody's log export and past judgments: nothing is stored, no model is needed."""
