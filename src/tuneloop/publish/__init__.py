"""What training left, made into what others load: merged models, GGUF files, hub folders."""
