"""`python -m tianlu`: the command line, with the interpreter of your choice."""

from tianlu._cli import main

if __name__ == "__main__":
    main()
