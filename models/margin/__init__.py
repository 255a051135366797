"""Security margins, and the limits that a book of cash, shares and loans supports."""
