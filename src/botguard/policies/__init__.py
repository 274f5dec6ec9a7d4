"""What the company's rules say. A list of Python rules for now; the policy file joins the same port."""
