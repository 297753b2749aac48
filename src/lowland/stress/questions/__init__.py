"""Questions: items, mitigations, and the questionnaires that combine them."""
