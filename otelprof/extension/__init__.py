"""What runs beside the pipelines, but for the admin service."""
