"""Write the table anew."""

from known_bad.table import PAGE, rendered

if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
