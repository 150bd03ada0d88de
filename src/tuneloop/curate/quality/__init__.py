"""Quality of texts: one named, documented flag a defect."""
