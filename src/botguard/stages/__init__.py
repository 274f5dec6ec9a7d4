"""One file for each stage of the picture in docs/explanation/architecture.md. Stages are strangers to each other."""
