"""`python -m tuneloop`, so that `accelerate launch -m tuneloop sft -c run.yaml` works."""

from tuneloop.cli import main

if __name__ == "__main__":
    main()
